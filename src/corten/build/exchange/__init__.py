"""Caches that come from elsewhere and go there: --cache-from and --cache-to, in BuildKit's form.

    options    what a client asks for, as typed values
    config     BuildKit's cacheconfig.v0 as values: records by digest, each with the layers that it leads to
    records    from the steps of a build to such a configuration
    places     where caches lie: a registry, a client's directory, an image of the store
    imported   what was found there, for the steps of one build
    exports    to a registry, to a client's directory

A record says: the step with this key, on a tree of these layers, brought this one. That cannot be proved without doing
the step, so a cache is trusted as far as who asked for it trusts it, and no further (docs/builder.md).
"""
