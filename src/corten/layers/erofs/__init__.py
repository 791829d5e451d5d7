"""EROFS images of trees (kernel, Documentation/filesystems/erofs.rst): read-only file systems that a guest mounts.

    structures   the format: superblock, inodes, attributes, blocks of names; bytes without files
    space        where in an image things lie, and how they get there
    contents     where the bytes of files come from: `Contents`, and the copy of them into the image
    attributes   extended attributes, those that many files have once
    names        of a directory
    image        a tree to an image

What is written needs Linux 5.15 and nothing but the format's oldest features: blocks of 4096 bytes, no compression.
The same tree becomes the same bytes. `VERSION` changes when it would become others.
"""

VERSION = 1
