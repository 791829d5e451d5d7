"""Trees that come and go while something fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.snapshots.trash import Trash
from corten.snapshots.tree_store import KIND, Tree, TreeStore
from corten.spec.json import Json
from fakes.table import MemoryTable


@pytest.fixture
def tree_store(tmp_path: Path) -> Iterator[TreeStore]:
    tree_store = TreeStore(tmp_path / "snapshots", MemoryTable())
    yield tree_store
    tree_store.close()


def test_a_renewed_tree_stays_when_the_old_one_cannot_be_taken_away(
    tree_store: TreeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tree_store.new(work=False), tree_store.new(work=False)
    tree_store.add("layer", Tree(old.directory, None, True, 0))

    def full(removed: Path) -> None:
        raise OSError("no space left for a name in the trash")

    with monkeypatch.context() as patched:
        patched.setattr(tree_store.trash, "take", full)
        with pytest.raises(OSError, match="no space"):
            tree_store.replace("layer", new, None)
    tree_store.discard(new)  # as every caller does that made a draft and met an error
    assert tree_store.files(tree_store.get("layer")) == new.path
    assert new.path.is_dir()
    assert tree_store.remove_unrecorded(old.directory) and not old.path.exists()


def test_a_draft_is_removed_once(tree_store: TreeStore) -> None:
    draft = tree_store.new(work=False)
    tree_store.discard(draft)
    tree_store.discard(draft)
    assert not draft.path.exists()
    assert tree_store.owners() == {}


def test_an_earlier_form_counts_once(tree_store: TreeStore) -> None:
    """For itself where it is asked for, else for the first of those that stand on it."""
    tree_store.add("below", Tree("a", None, True, 7))
    tree_store.add("first", Tree("b", "below", True, 100))
    tree_store.add("second", Tree("c", "first", True, 101, True, 2))
    tree_store.add("third", Tree("d", "second", True, 102, True, 3))
    tree_store.add("other", Tree("e", "first", True, 99, True, 4))
    assert tree_store.shares(["below", "first", "third"]) == {"below": 7, "first": 100, "third": 5}
    assert tree_store.shares(["third", "other", "second", "third", "gone"]) == {"third": 3, "other": 104, "second": 2}
    assert [tree_store.get(name).bytes for name in ("first", "third")] == [100, 3]


def test_a_sweep_takes_trees_and_nothing_else(tree_store: TreeStore) -> None:
    draft = tree_store.new(work=False)
    (tree_store.root / "lost+found").mkdir()
    tree_store.sweep()
    assert not draft.path.exists()
    assert (tree_store.root / "lost+found").is_dir()


def test_two_trashes_on_one_directory_do_not_get_in_each_other_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the next daemon has the process id of the one that was killed, which is usual in a container."""
    monkeypatch.setattr(Trash, "_later", lambda trash, name: None)  # nothing is erased yet
    first, second = Trash(tmp_path / ".trash"), Trash(tmp_path / ".trash")
    for number, trash in enumerate((first, second)):
        (tmp_path / "tree" / str(number)).mkdir(parents=True)
        trash.take(tmp_path / "tree")
    assert sorted(path.name for path in tmp_path.glob(".trash/*/*")) == ["0", "1"]


@pytest.mark.parametrize(
    "body",
    [{}, {"tree": None}, {"tree": []}, {"tree": ["a", None, 1, 0]}, {"tree": [1, None, True, 0]}, {"tree": "abc"}],
)
def test_a_record_that_cannot_be_read_costs_no_tree(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: Json
) -> None:
    """Its directory may be any, and what it stands on as well; until it is there again, or is removed."""
    table = MemoryTable()
    first = TreeStore(tmp_path / "snapshots", table)
    below, lost, own = (first.new(work=False) for _ in range(3))
    for key, draft, parent in (("below", below, None), ("lost", lost, "below")):
        first.add(key, Tree(draft.directory, parent, True, 0))
    first.add("container", Tree(own.directory, "lost", False, 0))
    first.close()
    table.put(KIND, "lost", body)
    later = TreeStore(tmp_path / "snapshots", table)
    later.sweep()
    assert (below.path.is_dir(), lost.path.is_dir(), own.path.is_dir()) == (True, True, True)
    assert not later.has("lost") and not later.remove_unrecorded(lost.directory)
    assert later.ancestors_in_use() == {"below"}
    assert "the record of snapshot lost cannot be read" in caplog.text
    draft = later.new(work=False)
    later.add("lost", Tree(draft.directory, "below", True, 0))
    assert later.ancestors_in_use() == {"below", "lost"}
    later.sweep()
    assert not lost.path.exists() and draft.path.is_dir()
    later.close()
    table.put(KIND, "lost", body)
    last = TreeStore(tmp_path / "snapshots", table)
    last.remove("lost")
    assert "lost" not in table.list(KIND)
    last.sweep()
    assert not draft.path.exists()
    last.close()
