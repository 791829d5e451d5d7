"""A registry: OCI distribution 1.1 over a directory (docs/registry.md).

serve, gc, config    the two commands and their configuration (parser: flags; sections: TOML)
loop                 how files are sent
app                  routes requests to functions, and checks the sender's rights
access               accounts (htpasswd), rights for each repository (rights), tokens (tokens, token_requests)
blob_requests        blobs and uploads over HTTP; manifest_requests: manifests, tags, referrers, the catalog
referrers            what refers to a manifest, in pages
store                blobs, manifests, tags; layout says where; uploads: unfinished uploads
collect, retention   removing what nothing needs while pushes go on
upstreams, downloads other registries, cached here as they are pulled
quotas, webhooks, metrics
"""

from corten.http import authorities as authorities  # before anything imports aiohttp
