"""Corten: a container engine that speaks Docker's REST API and OCI's formats.

The rooms of this package, and who may import whom, are drawn in docs/architecture.md.
"""

__version__ = "0.1.0"
