"""corten login: try credentials at a registry, and keep them in the user's config.json."""

from __future__ import annotations

import base64
import getpass
import sys

from corten.cli import userconfig
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import err, out
from corten.cli.terminal import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    server = flags.words[0] if flags.words else userconfig.HUB
    user, password = _asked(flags)
    answer = session.client.call(
        "POST", "/auth", None, {"username": user, "password": password, "serveraddress": server}
    )
    token = answer.get("IdentityToken") or ""
    entry = {"auth": base64.b64encode(f"{user}:{'' if token else password}".encode()).decode()}
    if token:
        entry["identitytoken"] = token
    userconfig.keep(server, entry)
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
    password = password or getpass.getpass("Password: ")
    if not user or not password:
        raise CommandError("Error: username and password are required")
    return user, password


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
