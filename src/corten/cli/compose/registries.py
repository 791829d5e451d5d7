"""Registries that the client itself talks to: engines know images, and a project is none.

With the user's logins, the proxies of the environment and the certificates of certs.d. A registry on this machine may
do without TLS, as one that --insecure-registry names.
"""

from __future__ import annotations

import os

from corten.cli import credentials
from corten.registry.client.auth import Credentials
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.proxies import from_environment
from corten.registry.client.repository import Repository
from corten.registry.client.sources import Sources
from corten.registry.client.web import Web

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from corten.cli.userconfig import UserConfig
    from corten.spec.reference import Reference


class Registries:
    """Of one event loop: `async with Registries(config, insecure) as registries`."""

    def __init__(self, config: UserConfig, insecure: Sequence[str] = ()) -> None:
        self._config = config
        self._sources = Sources(Endpoints(insecure))
        self._web = Web(from_environment(os.environ))

    async def __aenter__(self) -> Registries:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._web.close()

    def repository(self, reference: Reference) -> Repository:
        """Raises CommandError when a credential helper fails, Invalid for an address that is none."""
        login = credentials.find(self._config, credentials.server_of(reference.domain))
        known = Credentials(login.user, login.password, login.token)
        return Repository(self._web, self._sources.origin(reference), reference.familiar_name, known)
