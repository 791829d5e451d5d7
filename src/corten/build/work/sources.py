"""What a COPY reads, as its confined process is asked for it: trees as mounts, and heredocs as files of a tree."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from corten.build.contract import Matched, StageTree
from corten.build.work.rooms import Rooms, view_of
from corten.spec.dockerfile.glob import literal
from corten.spec.json import Json
from corten.spec.mounts import Mount


@contextmanager
def described(rooms: Rooms, matched: Sequence[Matched]) -> Iterator[Json]:
    """Until the block ends, which the directory of heredocs does as well."""
    place = rooms.root / "steps" / secrets.token_hex(32)
    trees: list[Json] = []
    sources: list[Json] = []
    try:
        for source in matched:
            files = [path for path in source.paths if path in source.content]
            others = [path for path in source.paths if path not in source.content]
            if others:
                sources.append(
                    {
                        "tree": len(trees),
                        "paths": others,
                        "owned": isinstance(source.tree, StageTree),
                        "packed": source.packed,
                    }
                )
                trees.append(view_of(rooms, source.tree).entry())
            for path in files:
                directory = place / f"{len(trees)}"
                directory.mkdir(mode=0o700, parents=True)
                name = path.strip("/").rpartition("/")[2]
                (directory / name).write_bytes(source.content[path])
                os.chmod(directory / name, 0o644)
                sources.append({"tree": len(trees), "paths": [literal(name)], "owned": False, "packed": source.packed})
                trees.append(Mount("bind", str(directory), "/", ("bind", "ro")).entry())
        yield {"trees": trees, "sources": sources}
    finally:
        if place.exists():
            shutil.rmtree(place)
