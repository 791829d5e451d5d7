"""The OCI runtime: from a specification to a process that runs in it.

    plan        pure: which namespaces, which mounts, in which order
    prepare     in the parent, on the host: the root file system and every bind as *detached* mounts
    spawn       the parent's side: clone3, id maps, cgroup, and the messages
    init        the child's side: one ordered list, ending in execve
    enter       the same for a further process in a running container (exec)
    identity    USER, groups, capabilities: who the program runs as

Nothing is ever mounted on the host. The parent makes detached mounts, the child inherits their descriptors, leaves the
host's tree by pivot_root *first*, and only then puts the mounts in place: a link that a hostile image or a neighbour
exchanges at the wrong moment can lead anywhere in the container and nowhere else.
"""
