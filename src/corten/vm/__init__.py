"""A guest under QEMU: its kernel, its initramfs, its machine, and what of a container goes where."""
