"""`python -m corten.registry.server --listen 127.0.0.1:5000 --root DIR`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from corten.errors import CortenError
from corten.registry.server.access import Access
from corten.registry.server.app import Registry, start
from corten.registry.server.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(given))
    except (CortenError, OSError) as error:
        print(f"corten registry: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="corten registry serve", description="Serve images to any OCI client.")
    parser.add_argument("--listen", default="127.0.0.1:5000", metavar="HOST:PORT", help="default %(default)s")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where everything is kept")
    parser.add_argument("--htpasswd", type=Path, metavar="FILE", help="only these users (as htpasswd -B writes them)")
    parser.add_argument("--anonymous-read", action="store_true", help="reading needs no account")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE")
    parser.add_argument("--tls-key", type=Path, metavar="FILE")
    return parser


async def _serve(given: argparse.Namespace) -> None:
    host, _, port = given.listen.rpartition(":")
    store = Store(given.root)
    registry = Registry(store, Access.from_file(given.htpasswd, given.anonymous_read))
    tls = None
    if given.tls_cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(given.tls_cert, given.tls_key)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = await start(registry, host.strip("[]") or "127.0.0.1", int(port), tls)
    address = runner.addresses[0]
    print(f"registry on {'https' if tls else 'http'}://{address[0]}:{address[1]}, keeping {given.root}", flush=True)
    try:
        await stop.wait()
    finally:
        await runner.cleanup()
        store.close()


if __name__ == "__main__":
    sys.exit(main())
