"""A container as an OCI document: pure functions from Docker's JSON and the host's facts; begin with `document`."""
