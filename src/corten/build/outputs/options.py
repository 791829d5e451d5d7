"""Outputs as clients ask for them (BuildKit's types and attributes, docs/builder.md) as typed values. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from corten.build.contract import Asked
from corten.errors import Invalid, Unsupported
from corten.spec.reference import parse
from corten.units.booleans import FALSE, TRUE

MOST = 20  # outputs of one build
_ATTRIBUTES, _LONGEST = 1000, 64 << 10  # of one output, and characters of one value
_ANNOTATION = re.compile(r"annotation(?:-([a-z]+(?:-descriptor)?))?(?:\[([A-Za-z0-9_/.-]+)\])?\.(\S+)\Z")
_LEVELS = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_KINDS = {"gzip": 9, "zstd": 22, "uncompressed": 0}  # the highest level of each
# What changes nothing here: attestations are always written down as images, trees are always unpacked, and an image's
# id is its configuration's digest whatever is preferred.
_OTHERS = frozenset(
    "buildinfo buildinfo-attrs context danging-name-empty-only dangling-name-prefix dest "
    "name-canonical oci-artifact prefer-image-digest prefer-nondist-layers unpack".split()
)


@dataclass(frozen=True, slots=True)
class Compression:
    """Of layers: "gzip", "zstd", "uncompressed", at this level (None: the kind's own). `force`: also of layers that a
    base image has."""

    kind: str
    level: int | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """`level` is one of manifest, manifest-descriptor, index, index-descriptor; `platform` "" is every one."""

    level: str
    platform: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Form:
    """How an image is written down. `docker`: Docker's media types instead of OCI's. `compression` None: layers as they
    are. `rewrite`: files of layers that were made by the build are not younger than `epoch` (seconds).
    `inline`: with the attestations that are for images alone."""

    docker: bool = False
    compression: Compression | None = None
    epoch: int | None = None
    rewrite: bool = False
    annotations: tuple[Annotation, ...] = ()
    inline: bool = False


@dataclass(frozen=True, slots=True)
class ImageOutput:
    """Into the image store, to a registry, or both. `names` are canonical tags, with `by_digest` repositories."""

    form: Form
    names: tuple[str, ...] = ()
    store: bool = True
    push: bool = False
    by_digest: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveOutput:
    """`docker`: what `docker load` takes; otherwise an OCI layout. `tar` False: blobs for a store of the client."""

    form: Form
    docker: bool = False
    names: tuple[str, ...] = ()
    tar: bool = True


@dataclass(frozen=True, slots=True)
class TreeOutput:
    """The files. `split`: a directory for each platform (None: when there are several). `prefix` is what names of
    attestations begin with."""

    tar: bool
    epoch: int | None = None
    split: bool | None = None
    prefix: str = ""
    delete: bool = False  # the client removes what it has besides


Output = ImageOutput | ArchiveOutput | TreeOutput


@dataclass(slots=True)
class Attributes:
    """What is read is taken away; what is left has no meaning here. `what` they are of, in messages."""

    what: str
    rest: dict[str, str]

    def text(self, key: str) -> str:
        return self.rest.pop(key, "")

    def flag(self, key: str, default: bool = False, empty: bool = True) -> bool:
        """`empty` is what a key without a value says."""
        value = self.rest.pop(key, None)
        if value is None or value in TRUE or value in FALSE:
            return default if value is None else value in TRUE
        if value == "":
            return empty
        raise Invalid(f"non-bool value specified for {key} of the {self.what}: {value[:100]!r}")

    def number(self, key: str) -> int | None:
        value = self.rest.pop(key, "")
        if not value:
            return None
        if not (value.isascii() and value.removeprefix("-").isdigit()) or len(value) > 12:
            raise Invalid(f"invalid value for {key} of the {self.what}: {value[:100]!r} is no number")
        return int(value)


def read(asked: Sequence[Asked], epoch: int | None = None) -> tuple[dict[int, Output], tuple[str, ...]]:
    """Outputs by their number, without those that are none ("cacheonly"), and the attributes that nothing is made of.
    `epoch` is SOURCE_DATE_EPOCH of the build. Raises Invalid, Unsupported."""
    if len(asked) > MOST:
        raise Invalid(f"{MOST} outputs are the most that a build can have")
    found, unknown = dict[int, Output](), list[str]()
    for number, each in enumerate(asked):
        if each.type not in ("", "cacheonly"):
            found[number], ignored = _read(each, epoch)
            unknown += [f"{key} of type={each.type}" for key in ignored]
    return found, tuple(unknown)


def _read(asked: Asked, epoch: int | None) -> tuple[Output, Collection[str]]:
    if len(asked.attributes) > _ATTRIBUTES or any(len(value) > _LONGEST for value in asked.attributes.values()):
        raise Invalid(f"the output type={asked.type[:100]} has more attributes, or longer ones, than there may be")
    attributes = Attributes(f"output type={asked.type[:100]}", dict(asked.attributes))
    own = attributes.number("source-date-epoch")
    epoch = epoch if own is None else own
    match asked.type:
        case "registry" | "image" | "moby":
            output: Output = _image(attributes, epoch, asked.type == "registry")
        case "oci" | "docker":
            output = _archive(attributes, epoch, asked.type == "docker")
        case "local" | "tar":
            output = _tree(attributes, epoch, asked.type == "tar")
        case _:
            raise Unsupported(
                f"the output type={asked.type[:100]} is not supported: image, registry, oci, docker, local and tar are"
            )
    return output, attributes.rest.keys() - _OTHERS


def _image(attributes: Attributes, epoch: int | None, registry: bool) -> ImageOutput:
    by_digest = attributes.flag("push-by-digest")
    if attributes.flag("registry.insecure"):
        raise Unsupported(
            "registry.insecure is not supported: put the registry into insecure-registries of daemon.json"
        )
    output = ImageOutput(
        form=_form(attributes, epoch, docker=False, inline=True),
        names=tuple(_named(name, by_digest) for name in _names(attributes.text("name"))),
        store=attributes.flag("store", default=True),
        push=attributes.flag("push", default=registry),
        by_digest=by_digest,
    )
    if output.push and not output.names:
        raise Invalid(f"the {attributes.what} needs a name to push to: name=REGISTRY/REPOSITORY:TAG")
    return output


def _archive(attributes: Attributes, epoch: int | None, docker: bool) -> ArchiveOutput:
    names = tuple(_named(name, False) for name in _names(attributes.text("name")))
    return ArchiveOutput(_form(attributes, epoch, docker), docker, names, attributes.flag("tar", default=True))


def _tree(attributes: Attributes, epoch: int | None, tar: bool) -> TreeOutput:
    mode = attributes.text("mode")
    if mode not in ("", "copy", "delete"):
        raise Invalid(f"invalid mode of the {attributes.what}: {mode[:100]!r}: copy and delete are known")
    prefix = attributes.text("attestation-prefix")
    if "/" in prefix or "\0" in prefix:
        raise Invalid(f"invalid attestation-prefix: {prefix[:100]!r}")
    split = attributes.flag("platform-split") if "platform-split" in attributes.rest else None
    return TreeOutput(tar, epoch, split, prefix, mode == "delete")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _named(name: str, by_digest: bool) -> str:
    reference = parse(name)
    if reference.digest:
        raise Invalid(f"the name {name[:200]} of an output has a digest: what it is made of has another one")
    return reference.name if by_digest else str(reference.tagged)


# ---------------------------------------------------------------------------------------------------------------- form


def _form(attributes: Attributes, epoch: int | None, docker: bool, inline: bool = False) -> Form:
    compression = compression_of(attributes)
    zstd = compression is not None and compression.kind == "zstd"
    oci = attributes.flag("oci-mediatypes", default=zstd or not docker)
    if zstd and not oci:
        raise Invalid('exporter option "compression=zstd" conflicts with "oci-mediatypes=false"')
    rewrite = attributes.flag("rewrite-timestamp")
    if rewrite and epoch is None:
        raise Invalid("rewrite-timestamp needs a time: --build-arg SOURCE_DATE_EPOCH=SECONDS or source-date-epoch")
    inline = attributes.flag("attestation-inline", default=inline)
    return Form(not oci, compression, epoch, rewrite, _annotations(attributes.rest), inline)


def compression_of(attributes: Attributes) -> Compression | None:
    kind, level = attributes.text("compression"), attributes.number("compression-level")
    force = attributes.flag("force-compression")
    if not kind and level is None and not force:
        return None
    kind = kind or "gzip"
    if kind not in _KINDS:
        raise Unsupported(f"compression={kind[:100]} is not supported: {', '.join(_KINDS)} are")
    if level is not None and not 0 <= level <= _KINDS[kind]:
        raise Invalid(f"compression-level={level} is none of {kind}: 0 to {_KINDS[kind]} are")
    return Compression(kind, level, force)


def _annotations(rest: dict[str, str]) -> tuple[Annotation, ...]:
    """Taken out of `rest`. Raises Invalid for a level that is unknown."""
    found = []
    for key in [key for key in rest if key.startswith(("annotation.", "annotation-", "annotation["))]:
        match = _ANNOTATION.match(key)
        level = (match[1] or "manifest") if match is not None else ""
        if match is None or level not in _LEVELS:
            continue
        found.append(Annotation(level, match[2] or "", match[3], rest.pop(key)))
    return tuple(found)


def annotated(annotations: Sequence[Annotation], level: str, platform: str = "") -> Mapping[str, str]:
    """Those of a level, for a platform."""
    return {each.key: each.value for each in annotations if each.level == level and each.platform in ("", platform)}
