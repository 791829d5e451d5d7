"""Creating a container for `run` and `create`: the ID file, the pull of a missing image, the warnings."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.cli.output import STDERR, err
from corten.client import containers
from corten.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Json
    from corten.spec.docker.create import CreateRequest

PULL_CHOICES = ("always", "missing", "never", "")


def create(session: Session, flags: Flags, body: CreateRequest) -> str:
    """The new container's id. CommandError (125) for what the flags ask wrongly, ApiError from the daemon."""
    choice = flags.text("pull")
    if choice not in PULL_CHOICES:
        raise CommandError(f'invalid pull option: \'{choice}\': must be one of "always", "missing" or "never"', 125)
    path = flags.text("cidfile")
    file = _open_id_file(path) if path else None
    try:
        answer = _create(session, flags, body, choice)
        if file is not None:
            os.write(file, answer["Id"].encode())
    except BaseException:
        if file is not None:
            os.unlink(path)
        raise
    finally:
        if file is not None:
            os.close(file)
    for warning in answer.get("Warnings") or ():
        err(f"WARNING: {warning}")
    return str(answer["Id"])


def _open_id_file(path: str) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        message = f"container ID file found, make sure the other container isn't running or delete {path}"
        raise CommandError(message, 125) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(f"failed to create the container ID file: open {path}: {reason}", 125) from None


def _create(session: Session, flags: Flags, body: CreateRequest, choice: str) -> Json:
    name, platform, image = flags.text("name"), flags.text("platform"), body.image
    client = session.client
    asked = platform if client.at_least("1.41") else ""
    if choice == "always":
        _pull(session, flags, image, platform)
    try:
        return containers.create(client, name, body, asked)
    except ApiError as error:
        from corten.cli import pulling

        if error.status != 404 or choice != "missing" or not pulling.lacks_image(error, image):
            raise
    if not flags.on("quiet"):
        pulling.say_missing(image)
    _pull(session, flags, image, platform)
    return containers.create(client, name, body, asked)


def _pull(session: Session, flags: Flags, image: str, platform: str) -> None:
    from corten.cli import pulling

    pulling.pull(session, image, STDERR, platform, quiet=flags.on("quiet"))
