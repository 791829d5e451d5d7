"""`python -m corten.oci`."""

from corten.oci.main import entry

entry()
