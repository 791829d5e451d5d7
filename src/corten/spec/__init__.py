"""Foreign formats as immutable types: OCI, Docker's wire, references, digests, platforms. No I/O."""
