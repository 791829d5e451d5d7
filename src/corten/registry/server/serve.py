"""`corten registry serve`: a registry until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from corten.aio.logs import to_stderr
from corten.errors import CortenError, Failed, Invalid
from corten.registry.server.access import Access
from corten.registry.server.app import Registry, start
from corten.registry.server.collect import Collector, Removed
from corten.registry.server.config import LISTEN, Config, access, from_file, overlay
from corten.registry.server.loop import SendingLoop
from corten.registry.server.metrics import Metrics
from corten.registry.server.parser import Parser
from corten.registry.server.rights import rule
from corten.registry.server.store import Store

_HOUR = 3600.0
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    """Run `corten registry serve`. Raises CortenError or OSError when it cannot start."""
    given = _parser().parse_args(arguments)
    to_stderr(logging.INFO, "corten registry: %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection and a file for each client
    with asyncio.Runner(loop_factory=SendingLoop) as runner:
        runner.run(serve(lambda: _config(given)))


def _parser() -> Parser:
    parser = Parser("serve", "Serve images to any OCI client.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file (docs/registry.md); flags come first")
    parser.add_argument("--listen", metavar="HOST:PORT", help=f"default {LISTEN}")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where everything is kept")
    parser.add_argument("--htpasswd", type=Path, metavar="FILE", help="only these users (as htpasswd -B writes them)")
    parser.add_argument("--anonymous-read", action="store_true", help="reading needs no account")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="USERS:REPOSITORIES:RIGHTS",
        help="only what is allowed, as in ann,bob:team/**:read,write,delete; may be repeated",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE")
    parser.add_argument("--tls-key", type=Path, metavar="FILE")
    return parser


def _config(given: argparse.Namespace) -> Config:
    config = from_file(given.config) if given.config else Config()
    config = overlay(
        config,
        listen=given.listen,
        root=given.root,
        htpasswd=given.htpasswd,
        anonymous_read=given.anonymous_read,
        rules=(*config.rules, *(rule(text) for text in given.allow)),
        certificate=given.tls_cert,
        key=given.tls_key,
    )
    if config.key and not config.certificate:
        raise Invalid("a TLS key without its certificate: give --tls-cert FILE, or certificate in [tls]")
    if config.root is None:
        raise Invalid("where is everything to be kept? give --root DIR, or root in the --config FILE")
    return config


async def serve(read: Callable[[], Config]) -> None:
    """`read` is asked again at SIGHUP, for accounts and rules."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    allowed: Access
    # From before the files are read: what changes after that is read again, and nothing here waits until there is
    # something to change.
    loop.add_signal_handler(signal.SIGHUP, lambda: _reload(read, allowed))
    config = read()
    assert config.root is not None
    host, port = config.address
    tls = _tls(config.certificate, config.key) if config.certificate else None
    store = Store(config.root)
    allowed = access(config)
    metrics = Metrics()
    registry = Registry(store, allowed, config.upstreams, config.quotas, config.webhooks, metrics)
    try:
        runner = await start(registry, host, port, tls)
    except OSError as error:
        known = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
        raise Failed(f"cannot listen on {config.listen}: {known.lower()}") from error
    bound, port, *_ = runner.addresses[0]
    shown = f"[{bound}]" if ":" in bound else bound
    print(f"registry on {'https' if tls else 'http'}://{shown}:{port}, keeping {config.root}", flush=True)
    ending = threading.Event()
    collecting = asyncio.create_task(_collect(store, config, metrics, stop, ending))
    try:
        await stop.wait()
    finally:
        ending.set()
        await runner.cleanup()
        await collecting
        store.close()


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """A server's TLS context. Raises Invalid when the files are not a certificate and its key."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for path in (certificate, key or certificate):
        path.open().close()  # an error of `load_cert_chain` names no file
    try:
        found.load_cert_chain(certificate, key, password=lambda: "")  # a server cannot ask for one
    except ssl.SSLError as error:
        names = f"{certificate} and {key}" if key else str(certificate)
        reason = f": {error.reason.lower().replace('_', ' ')}" if error.reason else ""
        raise Invalid(f"no certificate and its key are in {names}{reason}") from error
    return found


def _reload(read: Callable[[], Config], allowed: Access) -> None:
    """Read accounts and rules again. An error is logged, and changes nothing."""
    try:
        allowed.become(access(read()))
    except (CortenError, OSError) as error:
        _log.error("accounts and rules stay as they are: %s", error)
    else:
        _log.info("accounts and rules were read again")


async def _collect(
    store: Store, config: Config, metrics: Metrics, stop: asyncio.Event, ending: threading.Event
) -> None:
    """Abandoned uploads go at start and every hour, everything that nothing needs as often as is configured."""
    whole = False
    while not stop.is_set():
        collector = Collector(store, config.collect, stop=ending.is_set)
        try:
            removed = await asyncio.to_thread(list, collector.run() if whole else collector.uploads())
        except (CortenError, OSError) as error:
            _log.error("the collection ended early: %s", error)
        except Exception:  # a bug in it must not be its last one, nor the server's end
            _log.exception("the collection ended early")
        else:
            _count(removed, metrics)
        whole = config.collect_every > 0
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), config.collect_every or _HOUR)


def _count(removed: Sequence[Removed], metrics: Metrics) -> None:
    for each in removed:
        metrics.count("collected_total", kind=each.kind)
        metrics.count("collected_bytes_total", each.size)
    if removed:
        _log.info("collected %d things, %d bytes", len(removed), sum(each.size for each in removed))
