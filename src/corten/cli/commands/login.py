"""corten login: try credentials at a registry, and keep them where the user's config.json says."""

from __future__ import annotations

import sys

from corten.cli import credentials
from corten.cli.command import Command
from corten.cli.credentials import Login
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import err, out
from corten.cli.terminal import is_terminal
from corten.client import system
from corten.client.errors import ApiError
from corten.spec.docker.auth import AuthConfig
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    server = credentials.server_of(flags.words[0] if flags.words else "")
    if not flags.text("username") and not flags.text("password") and not flags.on("password-stdin"):
        known = credentials.find(session.config, server)
        if (known.user or known.token) and _again(session, known):
            return 0
    user, password = _asked(flags)
    return _login(session, Login(server, user, password))


def _again(session: Session, known: Login) -> bool:
    """Whether the stored credentials are still valid."""
    out("Authenticating with existing credentials..." + (f" [Username: {known.user}]" if known.user else ""))
    try:
        _login(session, known)
    except ApiError as error:
        err(f"Login did not succeed, error: {error}")
        return False
    return True


def _login(session: Session, login: Login) -> int:
    auth = AuthConfig(
        username=login.user,
        password=UNSET if login.token else login.password,
        identitytoken=login.token or UNSET,
        serveraddress=login.server,
    )
    answer = system.login(session.client, auth)
    token = answer.get("IdentityToken") or login.token
    where = credentials.keep(Login(login.server, login.user, login.password, token))
    if where:
        err(
            f"WARNING! Your credentials are stored unencrypted in '{where}': a credential helper would keep them safer."
        )
    out(answer.get("Status") or "Login Succeeded")
    return 0


def _asked(flags: Flags) -> tuple[str, str]:
    user, password = flags.text("username"), flags.text("password")
    if flags.on("password-stdin"):
        if password:
            raise CommandError("--password and --password-stdin are mutually exclusive")
        if not user:
            raise CommandError("Must provide --username with --password-stdin")
        password = sys.stdin.read().rstrip("\r\n")
    elif password:
        err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if (not user or not password) and not is_terminal(0):
        raise CommandError("Error: Cannot perform an interactive login from a non TTY device")
    user = user or input("Username: ").strip()
    password = password or _secret()
    if not user or not password:
        raise CommandError("Error: username and password are required")
    return user, password


def _secret() -> str:
    import getpass

    return getpass.getpass("Password: ")


COMMAND = Command(
    run,
    "[OPTIONS] [SERVER]",
    "Log in to a registry",
    (
        flag("password", STRING, "Password or token", "p"),
        flag("password-stdin", BOOL, "Read the password from STDIN"),
        flag("username", STRING, "User", "u"),
    ),
    most=1,
)
