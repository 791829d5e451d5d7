"""Trees that come and go while something fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.snapshots.trash import Trash
from corten.snapshots.tree_store import Tree, TreeStore
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
            tree_store.replace("layer", new)
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
