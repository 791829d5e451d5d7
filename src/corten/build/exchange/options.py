"""--cache-to and --cache-from as clients ask for them, as typed values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from corten.build.contract import Asked
from corten.build.outputs.options import Attributes, Form, compression_of
from corten.errors import Invalid, Unsupported
from corten.spec import digest as digests
from corten.spec.reference import Reference, parse

MOST = 20  # caches of one build, each way
_ELSEWHERE = ("gha", "s3", "azblob")


@dataclass(frozen=True, slots=True)
class InlineExport:
    """In the configuration of the image itself."""


@dataclass(frozen=True, slots=True)
class CacheExport:
    """`reference` is where to in a registry, or `directory` in what a client has. `every`: also of steps that the
    result has no layer of. `index`: an index of blobs, as of old, instead of a manifest."""

    form: Form
    reference: Reference | None = None
    directory: str = ""
    every: bool = False
    index: bool = False
    ignore_errors: bool = False


@dataclass(frozen=True, slots=True)
class CacheImport:
    """`reference` is where from in a registry, or else `digest` in the client's `directory`."""

    reference: Reference | None = None
    directory: str = ""
    digest: str = ""


def exports(asked: Sequence[Asked]) -> list[InlineExport | CacheExport]:
    """Raises Invalid, Unsupported."""
    _check(asked)
    return [_export(each) for each in asked]


def imports(asked: Sequence[Asked]) -> list[CacheImport]:
    """Raises Invalid, Unsupported."""
    _check(asked)
    return [_import(each) for each in asked]


def _check(asked: Sequence[Asked]) -> None:
    if len(asked) > MOST:
        raise Invalid(f"{MOST} caches are the most that a build can have")
    for each in asked:
        if each.type in _ELSEWHERE:
            raise Unsupported(f"the cache type={each.type} is not supported: inline, registry and local are")


def _export(asked: Asked) -> InlineExport | CacheExport:
    if asked.type == "inline":
        return InlineExport()
    attributes = Attributes(f"cache of type={asked.type[:100]}", dict(asked.attributes))
    mode = attributes.text("mode") or "min"
    if mode not in ("min", "max"):
        raise Invalid(f"invalid mode of a cache: {mode[:100]!r}: min and max are known")
    oci = attributes.flag("oci-mediatypes", default=True)
    form = Form(not oci, compression_of(attributes))
    index = not attributes.flag("image-manifest", default=oci)
    if not oci and not index:
        raise Invalid("invalid configuration for remote cache, OCI mediatypes are required for image-manifest")
    ignored = attributes.flag("ignore-error")
    if asked.type == "registry":
        return CacheExport(form, _reference(asked.attributes), "", mode == "max", index, ignored)
    if asked.type == "local":
        return CacheExport(form, None, _directory(asked.attributes, "dest"), mode == "max", index, ignored)
    raise _unknown(asked.type)


def _import(asked: Asked) -> CacheImport:
    if asked.type in ("registry", "inline"):
        return CacheImport(_reference(asked.attributes))
    if asked.type == "local":
        digest = digests.check(asked.attributes.get("digest"))
        return CacheImport(None, _directory(asked.attributes, "src"), digest)
    raise _unknown(asked.type)


def _unknown(kind: str) -> Invalid:
    return Invalid(f"unknown type of a cache: {kind[:100]!r}: inline, registry and local are known")


def _reference(attributes: Mapping[str, str]) -> Reference:
    if not attributes.get("ref"):
        raise Invalid("a cache in a registry needs a name: ref=REGISTRY/REPOSITORY:TAG")
    return parse(attributes["ref"]).tagged


def _directory(attributes: Mapping[str, str], key: str) -> str:
    if not attributes.get(key):
        raise Invalid(f"a local cache needs a directory: {key}=PATH")
    return attributes[key]
