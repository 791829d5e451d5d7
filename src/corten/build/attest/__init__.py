"""What is said of a build's result beside it: which packages are in it (SPDX), what it was made of and how (SLSA)."""
