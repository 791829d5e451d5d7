"""Images that are made here."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from corten.errors import NotFound, Unsupported
from corten.images import builtin as image_builtin
from corten.images import registry_image
from image_parts.stores import Store, collect, texts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


def has_busybox() -> bool:
    try:
        image_builtin.find()
    except NotFound:
        return False
    return True


@pytest.mark.skipif(not has_busybox(), reason="needs a static busybox (Debian package busybox-static)")
async def test_the_built_in_image(store: Store, tmp_path: Path) -> None:
    image = await store.images.provide("corten/busybox")
    assert image.config.config["Cmd"] == ["sh"]
    tree = Path(store.trees.view(image.chain_id or "")[0].source)
    assert (tree / "bin/sh").stat().st_ino == (tree / "bin/busybox").stat().st_ino
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tree / "etc/passwd").read_text().startswith("root:x:0:0:")
    messages = await collect(store.images.pull("corten/busybox", "latest", None, None))
    assert any("built in" in m["status"] for m in messages)
    await store.images.remove("corten/busybox")
    with pytest.raises(NotFound):
        await store.images.remove("corten/busybox")
    assert (await store.images.provide("corten/busybox:latest")).id == image.id  # deterministic
    other = Store(tmp_path / "other")
    assert (await other.images.provide("corten/busybox")).id == image.id
    with pytest.raises(NotFound):
        await other.images.provide("busybox")
    await other.close()


@pytest.mark.skipif(not has_busybox(), reason="needs a static busybox (Debian package busybox-static)")
async def test_a_pull_makes_what_a_repair_took_from_a_built_in_image(store: Store) -> None:
    image = await store.images.provide("corten/busybox")
    record = store.images.store.records.get(image.id)
    assert record is not None
    for lost in record.blobs:
        os.unlink(store.blobs.path(lost))
        assert texts(await collect(store.images.pull("corten/busybox")))[-1] == "Status: Made corten/busybox:latest"
        assert store.blobs.has(lost)
        assert [part async for part in store.images.save(["corten/busybox"])], "it can be saved again"
    last = texts(await collect(store.images.pull("corten/busybox")))[-1]
    assert last == "Status: Image is up to date for corten/busybox:latest"


async def test_without_a_busybox(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "busybox"
    script.write_text("#!/bin/sh\n")
    monkeypatch.setattr(store.images._builtin, "_places", (str(script), str(tmp_path / "none")))
    with pytest.raises(NotFound, match="busybox-static"):
        await store.images.provide("corten/busybox")


async def test_built_in_images_are_made_for_containers_and_pulls_only_and_in_a_thread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[threading.Thread] = []

    def contents() -> registry_image.Contents:
        made.append(threading.current_thread())
        raise Unsupported("nothing here to make it of")

    monkeypatch.setattr(registry_image, "contents", contents)
    for look in (store.images.resolve, store.images.inspect, store.images.history):
        with pytest.raises(NotFound):
            look("corten/registry")
    with pytest.raises(NotFound):
        await store.images.remove("corten/registry")
    assert made == []
    with pytest.raises(Unsupported):
        await store.images.provide("corten/registry")
    assert "nothing here" in (await collect(store.images.pull("corten/registry")))[-1]["error"]
    assert len(made) == 2 and threading.main_thread() not in made
