"""--cache-from and --cache-to: registries are the daemon's, directories ours. A directory is an OCI layout:

index.json          manifests by the name that `tag` gives ("latest")
blobs/sha256/HEX
"""

from __future__ import annotations

import os
import re

from corten.cli import smallfiles
from corten.cli.buildoutputs import File
from corten.cli.buildsecrets import fields
from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.client import quickjson
from corten.client.conversation import Last, Said
from corten.spec import build_frames as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.client.api import Json
    from corten.client.conversation import Answer, Answering

_NAME = "org.opencontainers.image.ref.name"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
_LATEST = "latest"


class Caches:
    """Of one build. Raises CommandError for what is none."""

    def __init__(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        self._targets: list[tuple[str, str]] = []  # directory and tag
        self._stores: dict[str, str] = {}  # directories, by their name at the daemon
        self._imports = [found for text in sources if (found := self._import(text)) is not None]
        self._exports = [self._export(text) for text in targets]

    def query(self) -> list[tuple[str, str]]:
        lists = (("cacheimports", self._imports), ("cacheexports", self._exports))
        return [(key, quickjson.dumps(found)) for key, found in lists if found]

    def answering(self) -> dict[str, Answering]:
        return {"blob size": self._size, "blob read": self._read, "blob write": self._write}

    def written(self, answer: dict[str, str]) -> None:
        """What was exported into directories gets its name there."""
        if "cache.manifest" not in answer:
            return
        manifest = quickjson.loads(answer["cache.manifest"].encode())
        for directory, tag in self._targets:
            _name(directory, tag, manifest)

    # ------------------------------------------------------------------------------------------------- what is asked

    def _import(self, text: str) -> Json | None:
        if "=" not in text:
            return {"Type": "registry", "Attrs": {"ref": text}}
        given = fields(text, "cache-from")
        kind = given.pop("type", "")
        if kind == "local":
            directory, tag = given.get("src", ""), given.pop("tag", _LATEST)
            self._stores[f"local:{directory}"] = directory
            if not given.get("digest") and not (digest := _digest(directory, tag)):
                err(f"WARNING: local cache import at {directory} not found")
                return None
            elif not given.get("digest"):
                given["digest"] = digest
        return {"Type": kind, "Attrs": given}

    def _export(self, text: str) -> Json:
        given = fields(text, "cache-to") if "=" in text else {"type": "registry", "ref": text}
        kind = given.pop("type", "")
        if kind == "local" and given.get("dest"):
            self._stores[f"local:{given['dest']}"] = given["dest"]
            self._targets.append((given["dest"], given.pop("tag", _LATEST)))
        return {"Type": kind, "Attrs": given}

    # -------------------------------------------------------------------------------------------------------- blobs

    def _path(self, question: Json) -> str:
        """Raises CommandError for what the daemon may not ask for."""
        digest = _DIGEST.match(question["digest"])
        directory = self._stores.get(question["store"], "")
        if digest is None or not directory:
            raise CommandError(f"there is no blob {question['digest'][:100]!r} in a cache of this build")
        return os.path.join(directory, "blobs", "sha256", digest[1])

    def _size(self, question: Json) -> Answer:
        try:
            return Said(str(os.stat(self._path(question)).st_size).encode())
        except FileNotFoundError:
            return Said(None)

    def _read(self, question: Json) -> Answer:
        try:
            return _Reading(self._path(question))
        except FileNotFoundError:
            return Said(None)

    def _write(self, question: Json) -> Answer:
        path = self._path(question)
        return Last(f.END, b"") if os.path.exists(path) else File(path)


class _Reading:
    """A blob, as an answer."""

    def __init__(self, path: str) -> None:
        self.fd = -1
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def next(self) -> tuple[int, bytes] | None:
        if self._file < 0:
            return None
        if data := os.read(self._file, f.PIECE):
            return f.DATA, data
        self.close()
        return f.END, b""

    def take(self, kind: int, data: bytes) -> None:
        return

    def end(self) -> tuple[int, bytes] | None:
        return None

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


# ------------------------------------------------------------------------------------------------------- index.json


def _index(directory: str) -> Json:
    try:
        found = quickjson.loads(smallfiles.content(os.path.join(directory, "index.json")))
    except FileNotFoundError:
        return {"schemaVersion": 2, "manifests": []}
    except OSError as error:
        raise CommandError(f"failed to read {error.filename}: {(error.strerror or '').lower()}") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("manifests"), list):
        raise CommandError(f"{directory}/index.json is no index of a cache")
    return found


def _named(entry: Any, tag: str) -> bool:
    return isinstance(entry, dict) and (entry.get("annotations") or {}).get(_NAME) == tag


def _digest(directory: str, tag: str) -> str:
    return next((str(entry.get("digest")) for entry in _index(directory)["manifests"] if _named(entry, tag)), "")


def _name(directory: str, tag: str, manifest: Json) -> None:
    index = _index(directory)
    others = [entry for entry in index["manifests"] if not _named(entry, tag)]
    named = {**manifest, "annotations": {**manifest.get("annotations", {}), _NAME: tag}}
    file = File(os.path.join(directory, "index.json"))
    try:
        file.take(f.DATA, quickjson.dumps({**index, "manifests": [*others, named]}).encode())
        file.end()
    finally:
        file.close()
