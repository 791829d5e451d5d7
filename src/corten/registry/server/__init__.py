"""A registry: OCI distribution 1.1 over a directory.

serve, config    the command, and what it is told
app              which request is for which function, and whether its sender may have it
access           accounts (htpasswd), rights for each repository (rights), tokens (tokens, token_requests)
blob_requests    blobs and uploads over HTTP; manifest_requests: manifests, tags, referrers, the catalog
store            blobs, manifests, tags, referrers; layout says where; uploads: blobs on their way
"""
