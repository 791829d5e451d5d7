"""Compares Corten with dockerd, podman and runc on the same work, in one run: `python -m bench`.

Everything runs in mount, network and process namespaces of its own, so that nothing is left behind and nothing else
on the machine is touched. Standard library only: the program also has to run beside the interpreter that it measures.
"""
