from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from corten.aio import threads
from corten.engine.events import Events
from corten.engine.secrets import CREDENTIAL, LONGEST, Secrets, shown
from corten.errors import Conflict, Invalid, NotFound, Unavailable
from corten.spec.docker.filters import Filters
from corten.spec.docker.secrets import StoredSecretMount
from corten.spec.json import Json

MOUNT = StoredSecretMount(secret="one", target="file", uid="7", mode=0o400)


class Memory:
    def __init__(self) -> None:
        self.rows: dict[str, Json] = {}

    def put(self, kind: str, id: str, body: Json) -> None:
        self.rows[id] = json.loads(json.dumps(body))

    def delete(self, kind: str, id: str) -> None:
        del self.rows[id]

    def list(self, kind: str) -> dict[str, Json]:
        return self.rows


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def opened(table: Memory, root: Path, key: Path | None) -> Secrets:
    return Secrets(table, Events(), root / "data", key)


async def test_what_is_stored_is_not_the_text(tmp_path: Path, key: Path) -> None:
    table = Memory()
    made = await opened(table, tmp_path, key).create("one", b"horse battery", {"of": "db"})
    assert "horse" not in str(table.rows) and "horse" not in str(shown(made))
    again = opened(table, tmp_path, key)
    assert again.list(Filters({"label": ["of=db"]})) == [made] == [again.get(made.id[:6])] == [again.get("one")]
    head, text = await again.content([MOUNT], (1000, 2000))
    row = {"name": "file", "size": 13, "uid": 1007, "gid": 2000, "mode": 0o400}
    assert json.loads(head) == [row] and head.endswith(b"\n") and text == b"horse battery"
    again.remove(made)
    assert table.rows == {} and again.list(Filters()) == []
    with pytest.raises(NotFound):
        again.get("one")


async def test_two_of_one_text_have_nothing_in_common(tmp_path: Path, key: Path) -> None:
    secrets = opened(Memory(), tmp_path, key)
    one, two = [await secrets.create(name, b"the same", {}) for name in ("one", "two")]
    assert one.sealed[:8] != two.sealed[:8] and one.sealed[24:] != two.sealed[24:]


@pytest.mark.parametrize("change", ["sealed", "name"])
async def test_what_was_changed_is_refused(tmp_path: Path, key: Path, change: str) -> None:
    """Also where one secret's row says that it is another's."""
    table = Memory()
    secrets = opened(table, tmp_path, key)
    one, two = await secrets.create("one", b"first", {}), await secrets.create("two", b"second", {})
    if change == "sealed":
        table.rows[one.id]["sealed"] = table.rows[two.id]["sealed"]
    else:
        table.rows[one.id]["name"], table.rows[two.id]["name"] = "two", "one"
    with pytest.raises(Unavailable, match="was changed"):
        await opened(table, tmp_path, key).content([MOUNT], (0, 0))


async def test_another_key(tmp_path: Path, key: Path) -> None:
    table = Memory()
    await opened(table, tmp_path, key).create("one", b"first", {})
    key.write_bytes(bytes(32))
    with pytest.raises(Unavailable, match="under another key"):
        await opened(table, tmp_path, key).content([MOUNT], (0, 0))


async def test_keys_that_are_none(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(Unavailable, match="no key for secrets: set secrets-key-file"):
        await opened(Memory(), tmp_path, None).create("one", b"x", {})
    inside = tmp_path / "data/key"
    inside.parent.mkdir()
    inside.symlink_to(key)
    outside = tmp_path / "link"
    real = tmp_path / "data/real"
    real.write_bytes(bytes(32))
    real.chmod(0o600)
    outside.symlink_to(real)
    with pytest.raises(Unavailable, match="is in the data root"):
        await opened(Memory(), tmp_path, outside).create("one", b"x", {})
    key.write_bytes(bytes(31))
    with pytest.raises(Unavailable, match="less than 32 bytes"):
        await opened(Memory(), tmp_path, key).create("one", b"x", {})
    key.chmod(0o640)
    with pytest.raises(Unavailable, match="can be read by others"):
        await opened(Memory(), tmp_path, key).create("one", b"x", {})


async def test_a_credential_of_systemd(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    key.rename(tmp_path / CREDENTIAL)
    assert (await opened(Memory(), tmp_path, None).create("one", b"x", {})).name == "one"


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", "a" * 65, "a\n"])
async def test_bad_names(tmp_path: Path, key: Path, name: str) -> None:
    with pytest.raises(Invalid, match="invalid name of a secret"):
        await opened(Memory(), tmp_path, key).create(name, b"x", {})


async def test_limits(tmp_path: Path, key: Path) -> None:
    secrets = opened(Memory(), tmp_path, key)
    for text in (b"", bytes(LONGEST + 1)):
        with pytest.raises(Invalid, match="1 to 512000 bytes"):
            await secrets.create("one", text, {})
    await secrets.create("one", bytes(LONGEST), {})
    with pytest.raises(Conflict, match="exists already"):
        await secrets.create("one", b"x", {})


async def test_a_key_that_does_not_come(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that does not answer: the event loop goes on, and the request ends. A pipe has no key either."""
    stuck, loop = threading.Event(), threading.get_ident()

    def hangs(*_: object) -> bytes:
        assert threading.get_ident() != loop
        stuck.wait(30)
        return b""

    monkeypatch.setattr(threads, "_LOOK", 0.05)
    monkeypatch.setattr("corten.engine.secrets._read_key", hangs)
    secrets = opened(Memory(), tmp_path, key)
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await secrets.create("one", b"x", {})
        with pytest.raises(Unavailable, match="does not answer"):
            await secrets.content([MOUNT], (0, 0))
    finally:
        stuck.set()
    monkeypatch.undo()
    key.unlink()
    os.mkfifo(key, 0o600)
    with pytest.raises(Unavailable, match="less than 32 bytes"):
        await secrets.create("one", b"x", {})


async def test_one_name_twice_at_once(tmp_path: Path, key: Path) -> None:
    """The key is read in between."""
    table = Memory()
    secrets = opened(table, tmp_path, key)
    both = await asyncio.gather(*(secrets.create("one", b"x", {}) for _ in range(2)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in both) == ["Conflict", "Secret"] and len(table.rows) == 1


async def test_a_record_that_cannot_be_read_hides_no_other(
    tmp_path: Path, key: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = Memory()
    made = [await opened(table, tmp_path, key).create(name, b"text", {}) for name in ("good", "bad")]
    table.put("secret", made[1].id, {})
    assert [secret.name for secret in opened(table, tmp_path, key).list(Filters({}))] == ["good"]
    assert made[1].id in table.list("secret")
    assert f"the record of secret {made[1].id} cannot be read" in caplog.text
