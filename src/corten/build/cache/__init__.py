"""What builds left to be used again: steps by their keys, what is shown of them, and what goes.

cache    records of steps, by the key of their content
images   --cache-from of the classic builder: the steps of images
usage    rows of the cache, and the filters over them
policy   daemon.json's "builder": what goes by itself
pruner   shows, prunes and collects: records, cache mounts, clients' directories
"""
