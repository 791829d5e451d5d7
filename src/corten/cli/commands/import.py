"""corten import: make an image of a root file system."""

from __future__ import annotations

from corten.cli import pulling
from corten.cli.archives import input_parts
from corten.cli.command import Command
from corten.cli.flags import LIST, STRING, flag
from corten.cli.output import STDOUT
from corten.cli.progress import show
from corten.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    source = flags.words[0]
    repository, tag = pulling.split(flags.words[1]) if len(flags.words) > 1 else ("", "")
    remote = source.startswith(("http://", "https://"))
    query: dict[str, str | list[str] | None] = {
        "fromSrc": source if remote else "-",
        "repo": repository,
        "tag": tag,
        "message": flags.text("message"),
        "platform": flags.text("platform"),
        "changes": flags.many("change"),
    }
    body = None if remote else input_parts("" if source == "-" else source, flags.words[0])
    answer = images.import_(session.client, query, body)
    show(answer.documents(), STDOUT)
    answer.close()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Make an image of a root file system's tar",
    (
        flag("change", LIST, "Apply a Dockerfile instruction to the image", "c"),
        flag("message", STRING, "Message of the image's history", "m"),
        flag("platform", STRING, "Platform of the image (os/arch/variant)"),
    ),
    least=1,
    most=2,
)
