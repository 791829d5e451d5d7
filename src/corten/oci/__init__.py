"""`corten-oci`: the OCI runtime command line (specification 1.2, runc's flags) over `corten.runtime`.

    main       global flags, the verb's flags, errors to the log and the exit status
    state      what is known of a container between two calls: a directory each below --root
    create     create, run
    enter      exec
    verbs      start, state, kill, delete, list, ps, pause, resume, update, events, features
    hooks      the specification's hooks
    template   what `spec` writes

There is no supervisor here: as with runc, the caller is the parent of the container's first process once `create` has
returned, and collects its exit status.
"""
