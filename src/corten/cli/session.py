"""One invocation: the daemon it talks to, and where it came from."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.client import address
from corten.client.api import Client
from corten.client.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.contexts import Context
    from corten.cli.flags import Flags
    from corten.cli.userconfig import UserConfig
    from corten.client.address import Address


_PEM = (("ca", "cacert"), ("cert", "cert"), ("key", "key"))  # our names, and those of Docker's flags


class Session:
    """`path` is the command as it was spelled ("container ls"). The client connects on first use."""

    def __init__(self, path: str, host: str = "", debug: bool = False, flags: Flags | None = None) -> None:
        self.path = path
        self.debug = debug
        self._host = host
        self._flags = flags  # the global ones
        self._client: Client | None = None
        self._config: UserConfig | None = None
        self._context: Context | None = None
        self._asked = False

    @property
    def client(self) -> Client:
        """A client after version negotiation. Raises Unreachable when there is no daemon."""
        if self._client is None:
            url = self.host
            version = os.environ.get("DOCKER_API_VERSION", "")
            self._client = Client(self._address(url), version, self.config.http_headers)
            try:
                _ = self._client.version
            except Unreachable as error:
                if not (error.absent and url == address.DEFAULT and _started()):
                    raise
                _ = self._client.version
        return self._client

    def other(self, host: str) -> Session:
        """Of another daemon, with this one's certificates and no context."""
        made = Session(self.path, host, self.debug, self._flags)
        made._asked = True
        return made

    @property
    def asked(self) -> bool:
        """Whether a daemon has answered."""
        return self._client is not None

    @property
    def host(self) -> str:
        """The URL of the daemon, as it was given. Raises CommandError for a context that is not there."""
        return self.context.host if self.context is not None else address.chosen(self._host, os.environ)

    @property
    def context(self) -> Context | None:
        """Docker's, where one is meant. Raises CommandError for one that cannot be used."""
        if not self._asked:
            flag = self._flags.text("context") if self._flags is not None else ""
            if flag or os.environ.get("DOCKER_CONTEXT") or self.config.current_context:
                from corten.cli import contexts, userconfig

                name, where = contexts.chosen(flag, self._host, os.environ, self.config.current_context)
                if name:
                    self._context = contexts.load(name, where, os.path.dirname(userconfig.path(os.environ)))
            self._asked = True
        return self._context

    def _address(self, url: str) -> Address:
        """With TLS where the context, the flags or Docker's environment ask for it; it is for tcp:// only.

        Raises Invalid for a bad URL.
        """
        if self.context is not None:
            return self.context.address()
        flags = self._flags
        given = {name: flags.text(f"tls{long}") if flags else "" for name, long in _PEM}
        verify = bool(os.environ.get("DOCKER_TLS_VERIFY")) or (flags is not None and flags.on("tlsverify"))
        asked = verify or bool(os.environ.get("DOCKER_TLS")) or (flags is not None and flags.on("tls"))
        found = address.parse(url, address.DEFAULT_TLS_PORT if asked else address.DEFAULT_TCP_PORT)
        if asked and found.host:
            from corten.cli import userconfig
            from corten.client import tls

            directory = os.environ.get("DOCKER_CERT_PATH") or os.path.dirname(userconfig.path(os.environ))
            found.tls = tls.files(verify, given, directory)
        return found

    @property
    def config(self) -> UserConfig:
        """The user's config.json; empty when there is none.

        One that cannot be read is a warning, as with docker's client: a command needs none of it. Raises Invalid for a
        field of the wrong type.
        """
        if self._config is None:
            from corten.cli import userconfig

            try:
                self._config = userconfig.load(os.environ)
            except CommandError as error:
                err(f"WARNING: {error}")
                self._config = userconfig.UserConfig()
        return self._config

    def beside(self) -> Session:
        """The same for another thread, on connections of its own."""
        import copy

        made = copy.copy(self)
        made._client = self.client.another()
        return made

    def format(self, given: str, key: str) -> str:
        """A listing's template: the one given, else that of config.json."""
        return given or self.config.formats[key]

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _started() -> bool:
    from corten.cli import autostart

    return autostart.start(os.environ)
