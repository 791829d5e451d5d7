"""Exec, attach and port-forward over HTTP."""
