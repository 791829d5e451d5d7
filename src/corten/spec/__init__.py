"""Immutable shapes of other people's formats: OCI, Docker's wire, references, digests, platforms. No I/O."""
