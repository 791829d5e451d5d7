"""Which image is meant by what a client says: a tag, a digest, an id, or the unique start of one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corten.errors import Invalid, NotFound
from corten.images import view as image_view
from corten.images.image import Image
from corten.spec import digest as digests
from corten.spec.reference import Reference, parse
from corten.store.images import ImageRecord, ImageRecords

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")
_REMEMBERED = 256  # answers of `resolve`


class Lookup:
    def __init__(self, records: ImageRecords) -> None:
        self._records = records
        self._resolved: dict[str, Image] = {}  # by what was asked for, as long as no record changes
        self._resolved_at = 0

    def resolve(self, ref: str) -> Image:
        """The image of a tag, a digest, an id or the unique start of one. Raises NotFound."""
        if self._resolved_at != self._records.changes or len(self._resolved) > _REMEMBERED:
            self._resolved_at = self._records.changes
            self._resolved = {}
        if ref not in self._resolved:
            self._resolved[ref] = self._resolve(ref)
        return self._resolved[ref]

    def _resolve(self, ref: str) -> Image:
        record = self.find(ref)[0]
        chain = record.chain
        return Image(
            record.id,
            record.config,
            chain[-1] if chain else None,
            tuple(image_view.familiar(name) for name in self._records.tags(record.id)),
            tuple(image_view.familiar(name) for name in self._records.digests(record.id)),
            record.size,
            record.created,
            record.layers,
            record.manifest,
        )

    def find(self, ref: str) -> tuple[ImageRecord, str | None]:
        """The record, and the canonical name that it was found by (None: by its id).

        Raises NotFound, or Invalid for what is no name.
        """
        name, id = self._look_up(ref)
        record = self._records.get(id) if id is not None else None
        if record is None:
            if not _ID.fullmatch(ref):
                parse(ref)  # Invalid, when no image can have this name
            raise NotFound(f"No such image: {shown(ref)}")
        return record, name

    def _look_up(self, ref: str) -> tuple[str | None, str | None]:
        try:
            reference = parse(ref).tagged
        except Invalid:
            reference = None
        if reference is not None:
            name, id = self.by_name(reference)
            if id is not None:
                return name, id
        if _ID.fullmatch(ref):
            ids = self._records.with_prefix(ref.removeprefix("sha256:"))
            if len(ids) == 1:
                return None, ids[0]
        return None, self._records.with_manifest(ref) if digests.is_digest(ref) else None

    def by_name(self, reference: Reference) -> tuple[str, str | None]:
        """The canonical name, and the id of the image that has it."""
        if reference.digest:
            name = f"{reference.name}@{reference.digest}"
            return name, self._records.by_digest(name)
        name = str(reference)
        return name, self._records.by_tag(name)

    def several(self, ref: str) -> Sequence[tuple[ImageRecord, str | None]]:
        """`find` for all tags of a repository where no tag is said; names are tags, None for an image found by its id
        or a digest."""
        try:
            reference = parse(ref)
        except Invalid:
            reference = None
        if reference is not None and not reference.tag and not reference.digest:
            names = self.tags(reference.name)
            if names:
                return [(self.find(name)[0], name) for name in names]
        record, name = self.find(ref)
        return [(record, name if name is not None and "@" not in name else None)]

    def tags(self, repository: str) -> Sequence[str]:
        """All canonical names with a tag in a repository."""
        tags = [name for names in self._records.names().values() for name in names[0]]
        return [name for name in tags if parse(name).name == repository]


def named(repo: str, tag: str) -> Reference:
    """The reference of a repository and a tag or digest given apart, as Docker's API has them.

    Raises Invalid for what is no name.
    """
    reference = parse(repo)
    if not tag:
        return reference
    if "@" in tag or ":" in tag:
        return reference.with_digest(tag.rpartition("@")[2])
    return reference.with_tag(tag)


def shown(ref: str) -> str:
    """What a client said, as errors name it."""
    try:
        return parse(ref).tagged.familiar
    except Invalid:
        return f"sha256:{ref}" if len(ref) == 64 and _ID.fullmatch(ref) else ref
