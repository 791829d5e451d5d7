"""Uploads, blobs and links as a state machine: whatever is done in whatever order, the store has what the model has."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from corten.errors import Corrupt, NotFound
from corten.registry.server.collect import Collector, Policy
from corten.registry.server.quotas import Quota, Quotas
from corten.registry.server.store import Store
from registry_parts.ageing import age
from registry_parts.own import digest

REPOSITORIES = st.sampled_from(["a", "a/b", "c"])
DATA = st.binary(max_size=4)


class Uploading(RuleBasedStateMachine):
    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="cr-"))
        self.links: dict[tuple[str, str], bytes] = {}
        self.coming: dict[str, bytes] = {}
        self.place: dict[str, str] = {}
        self.store = self.opened()

    def opened(self) -> Store:
        store = Store(self.root)
        self.quotas = store.ledger = Quotas(store.layout, store.guard, [Quota("a", 1 << 30), Quota("", 1 << 30)])
        return store

    @rule(target=uploads, repository=REPOSITORIES)
    def begin(self, repository: str) -> tuple[str, str]:
        upload = self.store.begin(repository)
        self.coming[upload.id] = b""
        self.place[upload.id] = repository
        return repository, upload.id

    @rule(upload=uploads, data=DATA)
    def append(self, upload: tuple[str, str], data: bytes) -> None:
        found = self.store.uploads.find(*upload)
        with found.held():
            self.store.write(found, data)
        self.coming[upload[1]] += data
        assert found.size == len(self.coming[upload[1]])

    @rule(upload=consumes(uploads), right=st.booleans())
    def finish(self, upload: tuple[str, str], right: bool) -> None:
        repository, id = upload
        data = self.coming.pop(id)
        found = self.store.uploads.find(repository, id)
        with found.held():
            if right:
                self.store.finish(found, digest(data))
                self.links[repository, digest(data)] = data
            else:
                with pytest.raises(Corrupt):
                    self.store.finish(found, digest(data + b"!"))
        with pytest.raises(NotFound):
            self.store.uploads.find(repository, id)

    @rule(upload=consumes(uploads))
    def abort(self, upload: tuple[str, str]) -> None:
        self.store.abort(self.store.uploads.find(*upload))
        del self.coming[upload[1]]

    @rule(upload=uploads)
    def from_elsewhere(self, upload: tuple[str, str]) -> None:
        with pytest.raises(NotFound):
            self.store.uploads.find("other", upload[1])

    @rule(repository=REPOSITORIES, source=REPOSITORIES, data=DATA)
    def mount(self, repository: str, source: str, data: bytes) -> None:
        there = (source, digest(data)) in self.links
        assert bool(self.store.mount(repository, digest(data), [source])) == there
        if there:
            self.links[repository, digest(data)] = data

    @rule(repository=REPOSITORIES, data=DATA)
    def delete(self, repository: str, data: bytes) -> None:
        if self.links.pop((repository, digest(data)), None) is None:
            with pytest.raises(NotFound):
                self.store.delete_blob(repository, digest(data))
        else:
            self.store.delete_blob(repository, digest(data))

    @rule()
    def collect(self) -> None:
        """No manifest needs anything: what is young stays, and then nothing does."""
        assert [each.kind for each in Collector(self.store, Policy()).run()] == []

    @rule()
    def collect_what_is_old(self) -> None:
        age(self.root, "repositories")
        age(self.root, "blobs")
        removed = [each.kind for each in Collector(self.store, Policy()).run()]
        assert removed.count("link") == len(self.links)
        assert removed.count("blob") == len({name for _, name in self.links})
        self.links.clear()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.opened()

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        layout = self.store.layout
        assert {name for name, _ in layout.blobs()} == {name for _, name in self.links}
        assert {(name, found) for name in layout.repositories() for found, _ in layout.links(name)} == set(self.links)
        for (repository, name), data in self.links.items():
            assert self.store.has_blob(repository, name) and layout.blob(name).read_bytes() == data
        used = {quota.prefix: size for quota, size in self.quotas.usage()}
        for prefix, size in used.items():
            mine = {name: data for (repository, name), data in self.links.items() if repository.startswith(prefix)}
            coming = sum(len(data) for id, data in self.coming.items() if self.place[id].startswith(prefix))
            assert size == sum(map(len, mine.values())) + coming, prefix
        assert len(list(layout.uploads.iterdir())) == 2 * len(self.coming)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)


TestUploading = Uploading.TestCase
TestUploading.settings = settings(max_examples=40, stateful_step_count=25)
