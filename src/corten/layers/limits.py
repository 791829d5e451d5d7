"""What the kernel takes at all."""

from __future__ import annotations

LONGEST_PATH = 4095  # bytes, PATH_MAX without its NUL: what lies deeper has no path that a system call takes
