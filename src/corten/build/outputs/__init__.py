"""What becomes of a build's result: outputs, each in a file of its own.

    store       the image store, and names there                        (image, moby)
    registry    a registry, with or without the store                   (image with push, registry)
    archives    an OCI layout or what `docker load` takes, as a tar     (oci, docker)
    trees       the files, as a directory or as a tar                   (local, tar)

    outputs     does those that were asked for, side by side
    options     what a client asks for, as typed values
    form        from images to configurations, manifests and an index
    layers      the same layers with another compression or other times
    answers     a result as it is described to clients

`contract` has the words and the seams: `Sink` is where a face takes files and trees, `TreeReader` reads trees.
"""
