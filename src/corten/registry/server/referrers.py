"""Referrers, a page at a time (OCI distribution specification 1.1, "Listing Referrers").

A descriptor carries its manifest's annotations, which may be 4 MB: what is held for one answer is a page, and `Link`
says where the next one begins. Everything here blocks, on the disk or on JSON: call it in a thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

from corten.errors import Invalid, NotFound
from corten.registry.server.manifests import check_manifest, descriptor_of
from corten.registry.server.store import Store
from corten.spec.json import Json
from corten.spec.oci_image import MAX_MANIFEST, OCI_INDEX, parse_json

PAGE = 4 << 20  # bytes of descriptors, when there is more than one
READ = 64 << 20  # bytes of manifests that are read for a page: a filter may fit none of them
_MAX_UPSTREAM = 8 << 20


class Page(NamedTuple):
    """`entries` are descriptors as JSON. `following` is the query of the next page; "" on the last one."""

    entries: list[bytes]
    following: str = ""


def page(store: Store, repository: str, subject: str, artifact_type: str, last: str) -> Page:
    """Those of `artifact_type` ("" for all) behind the one whose file is `last` ("" for the beginning)."""
    found: list[bytes] = []
    before, size, read = last, 0, 0
    for name in _names(store, repository, subject, last):
        if read >= READ:
            return Page(found, urlencode({"last": before}))
        entry, length = _descriptor(store, repository, name)
        read += length
        if entry and (not artifact_type or entry.get("artifactType") == artifact_type):
            encoded = _encoded(entry)
            if found and size + len(encoded) > PAGE:
                return Page(found, urlencode({"last": before}))
            found.append(encoded)
            size += len(encoded)
        before = name
    return Page(found)


def _names(store: Store, repository: str, subject: str, last: str) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(store.layout.referrers(repository, subject)) if name > last)
    return []


def _descriptor(store: Store, repository: str, name: str) -> tuple[Json, int]:
    """A referrer and its manifest's bytes; nothing for what is no manifest, or has gone meanwhile."""
    with suppress(NotFound, Invalid, FileNotFoundError):
        manifest = store.manifest(repository, name.replace("-", ":", 1))
        checked = check_manifest(manifest.body, manifest.media_type)
        return descriptor_of(checked, manifest.digest, manifest.body), len(manifest.body)
    return {}, MAX_MANIFEST


def of_upstream(body: bytes, artifact_type: str, following: str) -> Page:
    """A page of another registry's; `following` is its own query of the next one. Invalid."""
    found = parse_json(body, _MAX_UPSTREAM, "list of referrers").get("manifests")
    entries = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    wanted = (each for each in entries if not artifact_type or each.get("artifactType") == artifact_type)
    return Page([_encoded(each) for each in wanted], urlencode({"next": following}) if following else "")


def document(entries: Iterable[bytes]) -> bytes:
    """The index that a page is sent as."""
    head = f'{{"schemaVersion": 2, "mediaType": "{OCI_INDEX}", "manifests": ['
    return b"".join((head.encode(), b", ".join(entries), b"]}"))


def _encoded(entry: Json) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode()  # escapes would be three times what they stand for
