"""Removing images: Docker's rules for what is untagged, what is deleted, and what is in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from corten.aio.threads import to_disk_thread
from corten.errors import Conflict, NotFound
from corten.images import variants
from corten.images.store import ImageStore
from corten.images.view import familiar
from corten.spec.digest import short
from corten.spec.json import Json
from corten.spec.platform import Platform
from corten.spec.reference import parse
from corten.store.images import ImageRecord

Users = Callable[[str], Sequence[tuple[str, bool]]]  # image id to (container id, is it running)


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """Why an image stays. `hard` is not to be forced away; `used` by a container."""

    text: str
    hard: bool
    used: bool

    def error(self, id: str) -> Conflict:
        force = "cannot be forced" if self.hard else "must be forced"
        return Conflict(f"conflict: unable to delete {short(id)} ({force}) - {self.text}")


class Remover:
    """Removes images. `users` and `on_event` are called in the event loop's thread."""

    def __init__(self, store: ImageStore, users: Users, on_event: Callable[[str, str, dict[str, str]], None]) -> None:
        self._store = store
        self._users = users
        self._on_event = on_event

    async def remove(self, record: ImageRecord, name: str | None, force: bool) -> list[Json]:
        """Remove one image. `name` is the canonical name that was asked for, None when it was an id.

        Returns Docker's list of {"Untagged": ..} and {"Deleted": ..}. Raises Conflict when the image is in use.
        """
        done: list[Json] = []
        if name is not None:
            if not force and _single(self._names(record)):
                self._refuse_last_name(record, name)
            self._untag(record, name, done)
            self._untag_lone_digests(record, name, done)
            if self._names(record):
                return done
            obstacle = self._obstacle(record, force, False)
            if obstacle is not None:
                if obstacle.used:
                    return done
                raise obstacle.error(record.id)
        else:
            single = _single(self._names(record))
            obstacle = self._obstacle(record, force, not single)
            if obstacle is not None:
                raise obstacle.error(record.id)
        for other in self._names(record):
            self._untag(record, other, done)
        belonging = self._belonging(record)
        with self._store.collector.removing(record):
            self._store.records.delete(record.id)  # at once, so that it cannot come into use; the bytes go in a thread
            trees = await to_disk_thread(self._store.collector.remove_unused, record)
        self._on_event("delete", record.id, {"name": record.id})
        done += [{"Deleted": record.id}, *({"Deleted": tree} for tree in trees)]
        for variant in belonging:
            if not self._users(variant.id):
                done += await self.remove(variant, None, False)
        return done

    async def remove_platforms(self, record: ImageRecord, wanted: Sequence[Platform]) -> list[Json]:
        """Remove what its index has for these platforms, and nothing of what a name means by itself.

        Raises NotFound for a platform that is not there; Conflict for the image's own, and for one in use.
        """
        done: list[Json] = []
        for platform in wanted:
            found = await asyncio.to_thread(variants.kept, self._store.blobs, record, platform)
            now = self._store.records.get(record.id)
            if now is None:  # it was removed meanwhile
                raise NotFound(f"No such image: {record.id}")
            record = now
            if found is None:
                raise NotFound(f"image {short(record.id)} has nothing for {platform}")
            if found.id == record.id:
                raise Conflict(f"conflict: {platform} is what image {short(record.id)} is: remove the image")
            for container, _ in self._users(found.id):
                raise Conflict(f"conflict: container {container[:12]} is using image {short(found.id)}")
            record = await self._without(record, found)
            done.append({"Deleted": found.manifest})
        return done

    async def _without(self, record: ImageRecord, found: ImageRecord) -> ImageRecord:
        rest = [each for each in variants.variants(self._store.blobs, record) if each.entry.digest != found.manifest]
        needed = {part.digest for each in rest for part in (each.manifest.config, *each.manifest.layers)}
        gone = {*found.blobs} - needed
        left = replace(record, others=tuple(digest for digest in record.others if digest not in gone))
        self._store.records.put(left)
        if found.id not in self._store.records.names():
            self._store.records.delete(found.id)
        await to_disk_thread(self._store.collector.remove_unused, found)
        return left

    def _belonging(self, record: ImageRecord) -> list[ImageRecord]:
        """The images of other platforms that are there for its sake."""
        records = self._store.records
        return variants.belonging(records.all(), record, records.names()) if record.others else []

    def users(self, record: ImageRecord) -> list[tuple[str, bool]]:
        """Of the image, and of what its index has for other platforms."""
        return [user for each in (record, *self._belonging(record)) for user in self._users(each.id)]

    def _names(self, record: ImageRecord) -> list[str]:
        return [*self._store.records.tags(record.id), *self._store.records.digests(record.id)]

    def _untag(self, record: ImageRecord, name: str, done: list[Json]) -> None:
        self._store.records.untag(name)
        done.append({"Untagged": familiar(name)})
        self._on_event("untag", record.id, {"name": record.id})

    def _untag_lone_digests(self, record: ImageRecord, name: str, done: list[Json]) -> None:
        """Digests of a repository are of no use once its last tag is removed."""
        repository = parse(name).name
        if any(parse(tag).name == repository for tag in self._store.records.tags(record.id)):
            return
        for digest in self._store.records.digests(record.id):
            if parse(digest).name == repository:
                self._untag(record, digest, done)

    def _refuse_last_name(self, record: ImageRecord, name: str) -> None:
        for container, _ in self.users(record):
            raise Conflict(
                f'conflict: unable to remove repository reference "{familiar(name)}" (must force) - '
                f"container {container[:12]} is using its referenced image {short(record.id)}"
            )

    def _obstacle(self, record: ImageRecord, force: bool, several: bool) -> _Obstacle | None:
        users = self.users(record)
        for container, running in users:
            if running:
                return _Obstacle(f"image is being used by running container {container[:12]}", True, True)
        if force:
            return None
        if several:
            return _Obstacle("image is referenced in multiple repositories", False, False)
        for container, _ in users:
            return _Obstacle(f"image is being used by stopped container {container[:12]}", False, True)
        return None


def _single(names: Sequence[str]) -> bool:
    """At most one tag, and all names in one repository."""
    references = [parse(name) for name in names]
    tags = [reference for reference in references if not reference.digest]
    return len(tags) <= 1 and len({reference.name for reference in references}) <= 1
