"""Certificate authorities of the system: loaded with the first client's session, not with every process.

aiohttp loads them twice when it is imported (aiohttp/connector.py), which takes 40 ms of a processor and 1.6 MB, and
most of what imports it serves HTTP and never verifies a server. So it is imported here, before any other import of it,
while there are none to be found. Its own contexts then accept no certificate at all: a session is given `verifying`.
"""

from __future__ import annotations

import importlib
import os
import ssl
import sys
from functools import cache


@cache
def verifying() -> ssl.SSLContext:
    """What verifies a server by the system's authorities. Takes 20 ms the first time."""
    made = ssl.create_default_context()
    made.set_alpn_protocols(["http/1.1"])
    return made


def _import_aiohttp() -> None:
    paths = ssl.get_default_verify_paths()
    names = (paths.openssl_cafile_env, paths.openssl_capath_env)
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        importlib.import_module("aiohttp")
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)


if "aiohttp" not in sys.modules:
    _import_aiohttp()
