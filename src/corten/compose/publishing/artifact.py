"""A project as an OCI artifact, in Docker Compose's form: a manifest whose layers are the project's files.

    artifactType  application/vnd.docker.compose.project
    config        {} as application/vnd.oci.empty.v1+json
    layers        application/vnd.docker.compose.file+yaml    a Compose file; several are documents of one file
                  the same with com.docker.compose.extends    a file of its own, which services extend
                  application/vnd.docker.compose.envfile      a file of variables

Names are in annotations (com.docker.compose.file, com.docker.compose.envfile); each layer's content is in its
descriptor as well. For registries that know OCI 1.0 only the config's type says what it is, and there is no
artifactType. What is read here comes from a registry: names are names, and all of it is bounded.
"""

from __future__ import annotations

import base64

import msgspec

from corten.compose import labels
from corten.compose.document.read import SIZE
from corten.compose.errors import ComposeError
from corten.compose.output.json import compact
from corten.compose.variables import dotenv
from corten.spec import digest as digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Json = dict[str, Any]

PROJECT = "application/vnd.docker.compose.project"
FILE = "application/vnd.docker.compose.file+yaml"
VARIABLES = "application/vnd.docker.compose.envfile"
OLD_CONFIG = "application/vnd.docker.compose.config.empty.v1+json"
CONFIG = "application/vnd.oci.empty.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
VERSIONS = ("1.1", "1.0")  # of OCI's specification, in the order in which they are tried

EMPTY = b"{}"
MAIN = "compose.yaml"
LAYERS = 500
TOTAL = 64 << 20  # bytes of all files
_PREFIX = "com.docker.compose."
_FILE, _EXTENDS, _VARIABLES, _VERSION = (f"{_PREFIX}{name}" for name in ("file", "extends", "envfile", "version"))
_NOT_IN_NAMES = frozenset("/\\\0")


class Layer(msgspec.Struct, frozen=True):
    """One file that is published. `extended`: services of others extend those in it."""

    kind: str
    name: str
    content: bytes
    extended: bool = False

    @property
    def descriptor(self) -> Json:
        annotations = {_VARIABLES if self.kind == VARIABLES else _FILE: self.name, _VERSION: labels.SPOKEN}
        if self.extended:
            annotations[_EXTENDS] = "true"
        found = described(self.kind, self.content)
        return {**found, "annotations": dict(sorted(annotations.items())), "data": _base64(self.content)}


def described(kind: str, content: bytes) -> Json:
    """A descriptor with nothing more than it must have."""
    return {"mediaType": kind, "digest": digests.of(content), "size": len(content)}


def manifest(layers: Iterable[Layer], version: str, created: str) -> bytes:
    """Of OCI 1.1 or 1.0; `created` is RFC 3339's."""
    old = version == "1.0"
    document: Json = {"schemaVersion": 2, "mediaType": MANIFEST}
    if not old:
        document["artifactType"] = PROJECT
    document["config"] = {**described(OLD_CONFIG if old else CONFIG, EMPTY), "data": _base64(EMPTY)}
    document["layers"] = [layer.descriptor for layer in layers]
    document["annotations"] = {"org.opencontainers.image.created": created}
    return compact(document).encode()


def application(images: Sequence[Json], project: bytes) -> bytes:
    """The index of a project's images, which refers to its manifest."""
    annotations = {_VERSION: labels.SPOKEN}
    subject = {**described(MANIFEST, project), "annotations": annotations, "artifactType": PROJECT}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(images), "subject": subject}
    return compact({**document, "annotations": annotations}).encode()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# ----------------------------------------------------------------------------------------------------------- reading


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """A descriptor."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    artifact_type: str = ""
    annotations: dict[str, str] | None = None

    @property
    def limit(self) -> int:
        """How many bytes it may have."""
        return dotenv.SIZE if self.media_type == VARIABLES else SIZE


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str = ""
    artifact_type: str = ""
    config: Entry | None = None
    layers: list[Entry] | None = None
    manifests: list[Entry] | None = None


def project_in(body: bytes, place: str) -> str | None:
    """The digest of the project's manifest where `body` is an index, None where it is a manifest itself."""
    document = _read(body, place)
    if document.manifests is None:
        return None
    for each in document.manifests:
        if each.artifact_type == PROJECT and digests.is_digest(each.digest):
            return each.digest
    raise ComposeError(f"OCI index {place} doesn't refer to compose artifacts")


def entries(body: bytes, place: str) -> tuple[Entry, ...]:
    """The layers that are files. Raises ComposeError for a manifest that is no project's, or means harm."""
    document = _read(body, place)
    kind = document.artifact_type or (document.config.media_type if document.config is not None else "")
    if kind not in (PROJECT, OLD_CONFIG):
        shown = f", but {kind[:80]}" if kind else ""
        raise ComposeError(f"{place} is not a compose project OCI artifact{shown}")
    found = tuple(each for each in document.layers or () if each.media_type in (FILE, VARIABLES))
    if len(found) > LAYERS:
        raise _invalid(place, f"more than {LAYERS} files")
    for each in found:
        if not digests.is_digest(each.digest) or not 0 <= each.size <= each.limit:
            raise _invalid(place, f"a file of {each.size} bytes, digest {each.digest[:80]!r}")
    if sum(each.size for each in found) > TOTAL:
        raise _invalid(place, f"more than {TOTAL} bytes of files")
    if not any(each.media_type == FILE and not _is_extended(each) for each in found):
        raise _invalid(place, "no Compose file")
    return found


def unpacked(found: Iterable[tuple[Entry, bytes]], place: str) -> dict[str, bytes]:
    """The files by name. Raises ComposeError for a name that is none, or that is another file's."""
    files: dict[str, bytes] = {}
    kinds: dict[str, str] = {}
    for entry, content in found:
        name = _name(entry, place)
        kind = f"{entry.media_type} {_is_extended(entry)}"
        if kinds.setdefault(name, kind) != kind:
            raise _invalid(place, f"two files {name!r}")
        documents = entry.media_type == FILE and name in files
        files[name] = files[name] + b"\n---\n" + content if documents else content
    return files


def _read(body: bytes, place: str) -> _Document:
    try:
        return msgspec.json.decode(body, type=_Document)
    except msgspec.DecodeError as error:
        raise _invalid(place, str(error)) from None


def _is_extended(entry: Entry) -> bool:
    return _EXTENDS in (entry.annotations or {})


def _name(entry: Entry, place: str) -> str:
    given = entry.annotations or {}
    if entry.media_type == FILE and not _is_extended(entry):
        return MAIN
    key = _VARIABLES if entry.media_type == VARIABLES else _FILE
    name = given.get(key, "")
    if name in ("", ".", "..") or len(name.encode("utf-8", "replace")) > 255 or not _NOT_IN_NAMES.isdisjoint(name):
        raise _invalid(place, f"{key} {name[:80]!r} is no name of a file")
    return name


def _invalid(place: str, why: str) -> ComposeError:
    return ComposeError(f"{place}: invalid OCI artifact: {why}", remedy="publish it again, or name another one")
