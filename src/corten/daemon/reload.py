"""SIGHUP: the configuration is read again, and what may change while the daemon runs is changed.

A file that cannot be used is one line in the log, and everything stays as it was.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence

from corten.daemon import config
from corten.daemon.assemble import Daemon
from corten.daemon.config import Config
from corten.errors import CortenError

log = logging.getLogger("cortend")


def reload(daemon: Daemon, arguments: Sequence[str]) -> None:
    """Read the command line's file again and go on with what it says."""
    try:
        wanted = config.reloaded(daemon.config, arguments)
        daemon.configure(wanted)
    except CortenError as error:
        log.error("reload: %s; the old configuration stays", error)
        return
    logging.getLogger().setLevel(level(wanted))
    said = attributes(wanted)
    daemon.engine.events.publish("daemon", "reload", os.uname().nodename, {"name": os.uname().nodename, **said})
    log.info("reload: %s", " ".join(f"{name}={value}" for name, value in said.items()))


def level(settings: Config) -> int | str:
    """The logging level."""
    return logging.DEBUG if settings.debug else settings.log_level.upper()


def attributes(settings: Config) -> dict[str, str]:
    """What Docker's event `reload` carries."""
    return {
        "debug": str(settings.debug).lower(),
        "default-runtime": settings.default_runtime,
        "insecure-registries": json.dumps(settings.insecure_registries),
        "labels": json.dumps(settings.labels),
        "live-restore": "true",
        "max-concurrent-downloads": str(settings.max_concurrent_downloads),
        "max-concurrent-uploads": str(settings.max_concurrent_uploads),
        "max-download-attempts": str(settings.max_download_attempts),
        "registries": json.dumps(sorted(settings.registries)),
        "registry-mirrors": json.dumps(settings.registry_mirrors),
        "runtimes": json.dumps({name: found.path for name, found in sorted(settings.runtimes.items())}),
        "shutdown-timeout": str(settings.shutdown_timeout),
    }
