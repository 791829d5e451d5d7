"""The first process of a guest: it drives the same `supervisor.native.Native` that a supervisor drives on a host, and
speaks with that supervisor by frames (`corten.vm.frames`). Packed into the initial file system; nothing on a host
imports it. Standard library only.
"""
