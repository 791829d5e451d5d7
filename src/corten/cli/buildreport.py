"""What a build leaves behind: --metadata-file, --iidfile, and what --check finds."""

from __future__ import annotations

from binascii import a2b_base64
from contextlib import closing

from corten.cli.buildprogress import boxed
from corten.cli.errors import CommandError
from corten.cli.output import out, write_all
from corten.cli.whole import Whole
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Json

_DESCRIPTOR = "containerimage.descriptor"


def metadata(answer: dict[str, str]) -> Json:
    """As buildx writes it: what the daemon said of the outputs, and what of it is a document as one."""
    found: Json = dict(sorted(answer.items()))
    if _DESCRIPTOR in found:
        found[_DESCRIPTOR] = quickjson.loads(a2b_base64(found[_DESCRIPTOR]))
    return found


def write(flag: str, path: str, text: str) -> None:
    """Whole, or not at all. Raises CommandError."""
    try:
        with closing(Whole(path)) as file:
            write_all(file.fd, text.encode())
            file.keep(synced=True)
    except OSError as error:
        raise CommandError(f"--{flag} {path}: {error.strerror}") from None


def write_metadata(path: str, found: Json) -> None:
    import json

    write("metadata-file", path, json.dumps(found, indent=2))


def checked(found: Json) -> int:
    """Show what the Dockerfile's checks found; the exit code."""
    texts = [a2b_base64(source["data"]).decode("utf-8", "replace") for source in found["sources"]]
    names = [str(source["filename"]) for source in found["sources"]]
    warnings = found["warnings"]
    count = f"{len(warnings)} warning{'s have' if len(warnings) > 1 else ' has'} been found!"
    out(f"Check complete, {count if warnings else 'no warnings found.'}")
    for each in warnings:
        url = f" - {each['url']}" if each["url"] else ""
        out(f"\nWARNING: {each['ruleName']}{url}\n{each['detail']}\n{_place(texts[0], each['location'], names[0])}")
    if failed := found.get("buildError"):
        out(f"\nERROR: {failed['message']}\n{_place(texts[0], failed['location'], names[0])}")
    return 1 if found["failed"] else 0


def _place(text: str, location: Json, name: str) -> str:
    ranges = [[each["start"]["line"], each["end"]["line"]] for each in location["ranges"]]
    return boxed(text, ranges, name) if ranges else name
