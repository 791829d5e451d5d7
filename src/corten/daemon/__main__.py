"""`python -m corten.daemon`."""

from corten.daemon.main import entry

entry()
