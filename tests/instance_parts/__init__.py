"""The cases of the seam `Instance`, by what they are about, and the world that each of them runs in."""
