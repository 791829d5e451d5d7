"""Trees of files with parents: overlay where the kernel can, copies where it cannot. Nothing here mounts."""
