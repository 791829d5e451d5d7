"""One invocation: the daemon it talks to, and where it came from."""

from __future__ import annotations

import os

from corten.cli import autostart
from corten.client import address
from corten.client.api import Client
from corten.client.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Session:
    """`path` is the command as it was spelled ("container ls"). The client connects on first use."""

    def __init__(self, path: str, host: str = "", debug: bool = False) -> None:
        self.path = path
        self.debug = debug
        self._host = host
        self._client: Client | None = None
        self._config: dict[str, Any] | None = None

    @property
    def client(self) -> Client:
        """Negotiated already: whoever cannot be reached fails here. Unreachable."""
        if self._client is None:
            url = address.chosen(self._host, os.environ)
            self._client = Client(address.parse(url), os.environ.get("DOCKER_API_VERSION", ""))
            try:
                _ = self._client.version
            except Unreachable as error:
                if not (error.absent and url == address.DEFAULT and autostart.start(os.environ)):
                    raise
                _ = self._client.version
        return self._client

    @property
    def config(self) -> dict[str, Any]:
        """The user's config.json (detachKeys, psFormat, auths, ...); empty when there is none."""
        if self._config is None:
            from corten.cli import userconfig

            self._config = userconfig.load(os.environ)
        return self._config

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
