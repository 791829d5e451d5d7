"""Results of builds as BuildKit's clients carry them: a reference, and a definition that comes back as an input of
another build. To a client it is opaque: a source with a name of ours, and what points to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from corten.errors import Invalid, NotFound
from corten.spec.platform import described, parse
from corten.spec.protobuf.control import Definition
from corten.spec.protobuf.gateway import Input, Op, OpMetadata, Ref, RefMap, Result, SourceOp

_OURS = "docker-image://corten.invalid/result:"
_CAPABILITY = "source.image"


def definition(id: str) -> Definition:
    """Of the result `id`."""
    source = Op(source=SourceOp(_OURS + id)).encode()
    digest = "sha256:" + hashlib.sha256(source).hexdigest()
    last = Op([Input(digest)]).encode()
    return Definition([source, last], {digest: OpMetadata({_CAPABILITY: True}).encode()})


def is_ours(found: Definition) -> bool:
    operations = found.operations
    source = Op.decode(operations[0]).source if len(operations) == 2 else None
    return source is not None and source.identifier.startswith(_OURS)


def several(id: str, configs: Mapping[str, bytes]) -> Result:
    """The result `id`, of an index, as clients take it: a reference for each platform, all of the one result, as the
    platform is chosen where it is used."""
    entries = [{"ID": name, "Platform": described(parse(name))} for name in configs]
    metadata = {"refs.platforms": msgspec.json.encode({"Platforms": entries})}
    metadata |= {f"containerimage.config/{name}": config for name, config in configs.items()}
    return Result(several=RefMap({name: Ref(id, definition(id)) for name in configs}), metadata=metadata)


def named_by(found: Definition) -> str:
    """The result's id. Raises Invalid for a definition that is not one of ours."""
    operations = found.operations
    source = Op.decode(operations[0]).source if len(operations) == 2 else None
    if source is None or not source.identifier.startswith(_OURS):
        raise Invalid("only results of builds of this daemon can be inputs: definitions in LLB are not supported")
    return source.identifier.removeprefix(_OURS)


class Results:
    """Images of builds under way, by the ids that their clients know them by."""

    def __init__(self) -> None:
        self._images: dict[str, str] = {}

    def add(self, id: str, image: str) -> None:
        self._images[id] = image

    def remove(self, id: str) -> None:
        self._images.pop(id, None)

    def image(self, id: str) -> str:
        """Raises NotFound."""
        if id not in self._images:
            raise NotFound(f"the result {id[:100]!r} is not here any more")
        return self._images[id]
