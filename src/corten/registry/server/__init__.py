"""A registry: OCI distribution 1.1 over a directory (docs/registry.md).

serve, gc, config    the two commands, and what they are told (parser: flags; sections: TOML)
loop                 how files are sent
app                  which request is for which function, and whether its sender may have it
access               accounts (htpasswd), rights for each repository (rights), tokens (tokens, token_requests)
blob_requests        blobs and uploads over HTTP; manifest_requests: manifests, tags, referrers, the catalog
store                blobs, manifests, tags, referrers; layout says where; uploads: blobs on their way
collect, retention   taking away what nothing needs while pushes go on
upstreams, downloads other registries, kept here as they are pulled
quotas, webhooks, metrics
"""
