"""The client of OCI distribution 1.1 and Docker's registry API v2."""
