"""Programs that keep credentials: docker-credential-NAME, whose protocol is that of docker-credential-helpers.

    get     the server on standard input; {"ServerURL", "Username", "Secret"} on standard output
    store   that object on standard input
    erase   the server on standard input
    list    {server: user, ...} on standard output

A user named `<token>` marks the secret as an identity token. A helper that has nothing says so on standard output and
ends with 1.
"""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOKEN = "<token>"
ABSENT = "credentials not found in native keychain"


def get(helper: str, server: str) -> tuple[str, str] | None:
    """(user, secret); None when the helper has none for this server. Raises CommandError when it fails."""
    said = _ask(helper, "get", server, absent=True)
    if said is None:
        return None
    document = _object(helper, "get", said)
    user, secret = document.get("Username"), document.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise CommandError(f"error getting credentials - err: docker-credential-{helper} gives no user and secret")
    return user, secret


def store(helper: str, server: str, user: str, secret: str) -> None:
    _ask(helper, "store", quickjson.dumps({"ServerURL": server, "Username": user, "Secret": secret}))


def erase(helper: str, server: str) -> None:
    """Forget what the helper has for this server, if anything."""
    _ask(helper, "erase", server, absent=True)


def servers(helper: str) -> dict[str, Any]:
    """Every server that the helper has credentials of, and their users."""
    return _object(helper, "list", _ask(helper, "list", "unused") or "")


def _ask(helper: str, action: str, text: str, absent: bool = False) -> str | None:
    """What the helper said; None, where that may be, when it has no such credentials."""
    # Not at the top: most commands need no credentials, and most users have no helper.
    import subprocess

    if "/" in helper or "\0" in helper:
        raise CommandError(f"the configuration names a credential helper by what is no name: {helper!r}")
    program = f"docker-credential-{helper}"
    try:
        # Its standard error is the user's: a helper may ask for a pass phrase there.
        done = subprocess.run([program, action], input=text.encode(), stdout=subprocess.PIPE)
    except OSError as error:
        reason = "executable file not found in $PATH" if isinstance(error, FileNotFoundError) else str(error.strerror)
        raise CommandError(f'error {_DOING[action]} credentials - err: exec: "{program}": {reason}, out: ``') from None
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode == 0:
        return said
    if absent and said == ABSENT:
        return None
    raise CommandError(f"error {_DOING[action]} credentials - err: exit status {done.returncode}, out: `{said}`")


def _object(helper: str, action: str, said: str) -> dict[str, Any]:
    try:
        document = quickjson.loads(said.encode())
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"error {_DOING[action]} credentials - err: docker-credential-{helper} says no JSON object")
    return document


_DOING = {"get": "getting", "store": "storing", "erase": "erasing", "list": "listing"}
