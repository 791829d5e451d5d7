"""The daemon: configuration, sockets, signals, recovery at start, and the only place where rooms are wired together.

config      dockerd's flags and its JSON file, as one frozen value
facts       what this machine can do, found once at start
lock        one daemon to a data root
sockets     where clients connect
assemble    the rooms, put together
main        the life of the process
"""

from corten.http import authorities as authorities  # before anything imports aiohttp
