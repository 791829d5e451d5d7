"""What becomes of a build's result at our side: --output, --push, --load. Files and directories are answers to the
daemon's question `output` (`corten.client.conversation`)."""

from __future__ import annotations

import os

from corten.cli.buildsecrets import fields
from corten.cli.errors import CommandError
from corten.cli.output import STDOUT, write_all
from corten.cli.terminal import is_terminal
from corten.cli.whole import Whole
from corten.spec import build_frames as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from corten.client.api import Json

_NAMED = ("image", "registry", "oci", "docker")  # types of which a name is part
_LEVELS = ("manifest", "index", "manifest-descriptor", "index-descriptor")
_FILES = ("tar", "oci", "docker")


class Output:
    """`place` is where it goes: a path, "-" for standard output, "" for nothing of ours."""

    __slots__ = ("attributes", "place", "type", "unpacked")

    def __init__(self, kind: str, attributes: dict[str, str], place: str = "", unpacked: bool = False) -> None:
        self.type = kind
        self.attributes = attributes
        self.place = place
        self.unpacked = unpacked  # an archive of which we keep the files

    def asked(self) -> Json:
        return {"Type": self.type, "Attrs": self.attributes}

    def taking(self) -> File | Standard | Unpacked:
        if self.place == "-":
            return Standard()
        return Unpacked(self.place) if self.type == "local" or self.unpacked else File(self.place)


def outputs(texts: Iterable[str], push: bool, load: bool, tags: Sequence[str]) -> list[Output]:
    """Raises CommandError. None at all: the image store, as ever."""
    found = [_output(text) for text in texts]
    if load:
        found.append(Output("image", {}))
    if push:
        images = [each for each in found if each.type in ("image", "registry")]
        found += [] if images else [Output("image", {})]
        for each in images or found[-1:]:
            each.attributes["push"] = "true"
    for each in found:
        if tags and each.type in _NAMED:
            each.attributes.setdefault("name", ",".join(tags))
    if sum(each.place == "-" for each in found) > 1:
        raise CommandError("only one output can be standard output")
    return found


def annotated(found: list[Output], texts: Iterable[str], tags: Sequence[str]) -> list[Output]:
    """These outputs with --annotation, [LEVEL[PLATFORM][,...]:]KEY=VALUE; the image store's, where there are none.
    Raises CommandError."""
    images = [each for each in found if each.type in _NAMED]
    if found and not images:
        raise CommandError(f"annotations are for images, and the output type={found[0].type} is none")
    if not images:
        found = images = [Output("image", {"name": ",".join(tags)} if tags else {})]
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"invalid annotation {text}: expected KEY=VALUE")
        for each in images:
            each.attributes.update(dict.fromkeys(_levelled(key), value))
    return found


def _levelled(key: str) -> list[str]:
    """As attributes of an output."""
    before, colon, name = key.partition(":")
    levels = before.split(",")
    if not colon or not name or any(level.partition("[")[0] not in _LEVELS for level in levels):
        return [f"annotation.{key}"]
    return [f"annotation-{level}.{name}" for level in levels]


def _output(text: str) -> Output:
    if "=" not in text:
        return Output("tar", {}, "-") if text == "-" else Output("local", {}, text)
    given = fields(text, "output")
    kind, place = given.pop("type", ""), given.pop("dest", "")
    if not kind:
        raise CommandError("invalid output: type is required")
    unpacked = kind in ("oci", "docker") and given.get("tar") in ("0", "f", "false")
    if unpacked:
        del given["tar"]
    if kind == "local" and given.get("mode") == "delete":
        raise CommandError("mode=delete of the output type=local is not supported: remove the directory before")
    if kind == "docker" and not place:
        return Output("image", given)
    if kind in (*_FILES, "local"):
        place = place or ("" if kind == "local" or unpacked else "-")
        _check(kind, place, unpacked)
    return Output(kind, given, place, unpacked)


def _check(kind: str, place: str, unpacked: bool) -> None:
    if not place or (place == "-" and (kind == "local" or unpacked)):
        raise CommandError(f"dest is required for {kind} output: dest=DIRECTORY")
    if place == "-" and is_terminal(STDOUT):
        raise CommandError(f"dest file is required for {kind} output, as standard output is a terminal")
    if kind != "local" and not unpacked and os.path.isdir(place):
        raise CommandError(f"the destination of the {kind} output, {place}, is a directory")


class _Taking:
    fd = -1

    def next(self) -> tuple[int, bytes] | None:
        return None


class Standard(_Taking):
    """Our standard output."""

    def take(self, kind: int, data: bytes) -> None:
        if kind == f.DATA:
            write_all(STDOUT, data)

    def end(self) -> tuple[int, bytes] | None:
        return f.END, b""

    def close(self) -> None:
        return


class File(_Taking):
    """A file that has its name once all of it is there."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._file = Whole(path)

    def take(self, kind: int, data: bytes) -> None:
        if kind == f.DATA:
            write_all(self._file.fd, data)

    def end(self) -> tuple[int, bytes] | None:
        self._file.keep(synced=True)
        return f.END, b""

    def close(self) -> None:
        self._file.close()


class Unpacked(_Taking):
    """A directory that the tar is unpacked in, by a thread: an unpacker asks for its input."""

    def __init__(self, path: str) -> None:
        import threading

        os.makedirs(path, exist_ok=True)
        self._path = path
        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._unpack)
        self._thread.start()

    def _unpack(self) -> None:
        from corten.cli.unpacking import Parts, unpack

        try:
            unpack(Parts(iter(lambda: os.read(self._read, 1 << 16), b"")), self._path, "", "", owners=False)
        except Exception as error:
            self._error = error
        finally:
            os.close(self._read)

    def take(self, kind: int, data: bytes) -> None:
        if kind != f.DATA:
            return
        try:
            write_all(self._write, data)
        except BrokenPipeError:
            self._joined()
            raise

    def end(self) -> tuple[int, bytes] | None:
        self._joined()
        return f.END, b""

    def _joined(self) -> None:
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        if self._write >= 0:
            os.close(self._write)
            self._write = -1
            self._thread.join()
