"""Where credentials are: the helper that config.json names for a registry, the one for all, or the file itself.

{"auths": {"host": {"auth": base64 of user:password, "identitytoken": ...}},
 "credsStore": "pass", "credHelpers": {"host": "ecr-login"}}
"""

from __future__ import annotations

import os

from corten.cli import helpers, userconfig
from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.userconfig import UserConfig

HUB = userconfig.HUB
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")


class Login:
    """What is known for one server: a user with a password, or an identity token."""

    __slots__ = ("password", "server", "token", "user")

    def __init__(self, server: str, user: str = "", password: str = "", token: str = "") -> None:
        self.server = server
        self.user = user
        self.password = password
        self.token = token

    def header(self) -> str:
        """X-Registry-Auth: base64url of JSON; "" when nothing is known."""
        if not self.user and not self.token:
            return ""
        import base64

        from corten.spec.docker.auth import AuthConfig
        from corten.spec.docker.struct import UNSET

        auth = AuthConfig(
            username=UNSET if self.token else self.user,
            password=UNSET if self.token else self.password,
            identitytoken=self.token or UNSET,
            serveraddress=self.server,
        )
        return base64.urlsafe_b64encode(quickjson.dumps(auth.given_json()).encode()).decode()


def server_of(text: str) -> str:
    """The name under which a server's credentials are kept: its host, or Docker Hub's old URL."""
    host = hostname(text)
    return HUB if not host or host in _HUB_NAMES else host


def hostname(text: str) -> str:
    """The host (and port) of a URL or of a bare name."""
    return text.rpartition("://")[2].partition("/")[0]


def header(config: UserConfig, registry: str) -> str:
    """X-Registry-Auth for `registry`, a host name. A helper that fails is said, and nothing is sent."""
    try:
        return find(config, server_of(registry)).header()
    except CommandError as error:
        err(f"WARNING: {error}; going on without credentials")
        return ""


def find(config: UserConfig, server: str) -> Login:
    """The stored login of a server. Raises CommandError when a helper fails or the file's entry cannot be read."""
    helper = helper_of(config, server)
    if not helper:
        return _from_file(config, server)
    found = helpers.get(helper, server)
    if found is None:
        return Login(server)
    user, secret = found
    return Login(server, token=secret) if user == helpers.TOKEN else Login(server, user, secret)


def helper_of(config: UserConfig, server: str) -> str:
    """The helper's name; "" when the file itself keeps this server's credentials."""
    return config.cred_helpers.get(server, config.creds_store)


def keep(login: Login) -> str:
    """Keep it where the configuration says. The path of the file when secrets lie in that, "" otherwise."""
    import base64

    config = userconfig.load(os.environ)
    if helper := helper_of(config, login.server):
        user, secret = (helpers.TOKEN, login.token) if login.token else (login.user, login.password)
        helpers.store(helper, login.server, user, secret)
        userconfig.keep(login.server, {})  # so that others see that there is something, as Docker's client does
        return ""
    entry = {"auth": base64.b64encode(f"{login.user}:{'' if login.token else login.password}".encode()).decode()}
    if login.token:
        entry["identitytoken"] = login.token
    userconfig.keep(login.server, entry)
    return userconfig.path(os.environ)


def forget(server: str) -> None:
    """Remove a server's login from file and helper, in every spelling. Raises CommandError when a helper fails."""
    config = userconfig.load(os.environ)
    names = [server] if server == HUB else [server, f"http://{server}", f"https://{server}"]
    userconfig.forget(names)
    if helper := helper_of(config, server):
        for name in names:
            helpers.erase(helper, name)


def _from_file(config: UserConfig, server: str) -> Login:
    entry = config.auths.get(server)
    if entry is None:  # old files have URLs as keys; the host has to be exactly the same
        entry = next((one for key, one in config.auths.items() if server != HUB and hostname(key) == server), None)
    if entry is None:
        return Login(server)
    user, password = _decoded(entry.auth, server) if entry.auth else (entry.username, entry.password)
    return Login(server, user, password, entry.identity_token)


def _decoded(text: str, server: str) -> tuple[str, str]:
    import base64

    try:
        user, _, password = base64.b64decode(text).decode().partition(":")
    except ValueError:
        raise CommandError(f"the stored credentials of {server} cannot be read; log in again") from None
    return user, password.rstrip("\0")
