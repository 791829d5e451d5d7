"""A registry: OCI distribution 1.1 over a directory.

store     blobs, uploads, manifests, tags, referrers as files
app       the HTTP interface
access    htpasswd, and who may do what
"""
