"""POST /build of a `fakes.daemon.Daemon`, and what its answers say."""

from __future__ import annotations

import io
import re
import tarfile
from typing import Any

from fakes.daemon import Connection, Daemon

Lines = list[dict[str, Any]]


def context(files: dict[str, str], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]  # a mode of several
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def build(http: Connection, files: dict[str, str] | bytes, query: str = "", **headers: str) -> Lines:
    body = files if isinstance(files, bytes) else context(files)
    status, answer = http.ask("POST", f"/build?{query}", body, **headers)
    assert status == 200, answer
    return answer if isinstance(answer, list) else [answer]


def refused(http: Connection, files: dict[str, str] | bytes, query: str = "") -> tuple[int, str]:
    body = files if isinstance(files, bytes) else context(files)
    status, answer = http.ask("POST", f"/build?{query}", body)
    return status, answer["message"]


def text(lines: Lines) -> str:
    return "".join(line.get("stream", "") for line in lines)


def image_of(lines: Lines) -> str:
    return next(str(line["aux"]["ID"]) for line in lines if "aux" in line)


def inspect(http: Connection, name: str) -> dict[str, Any]:
    status, found = http.ask("GET", f"/images/{name}/json")
    assert status == 200, found
    return dict(found)


def names(lines: Lines) -> list[str]:
    """Vertices that have ended, in this order, and whether they were cached."""
    ended = [vertex for line in lines for vertex in line.get("vertexes", ()) if vertex.get("completed")]
    return [f"{vertex['name']}{' CACHED' if vertex.get('cached') else ''}" for vertex in ended]


def cached(lines: Lines) -> list[str]:
    """Steps that were in the cache."""
    return re.findall(r"^Step \d+/\d+ : (.*)\n ---> Using cache$", text(lines), re.MULTILINE)


def said(daemon: Daemon, image: str, path: str) -> str:
    """What a file of an image has: that of its topmost layer which has one."""
    tree_store = daemon.engine.store.trees.tree_store
    top = daemon.engine.images.resolve(image).chain_id
    for tree in tree_store.lineage(top or ""):
        if (found := tree_store.files(tree) / path).exists():
            return found.read_text()
    raise AssertionError(f"{path} is not in {image}")


SIMPLE = 'FROM test\nRUN echo hello; echo hello > said\nCOPY a b /data/\nCMD ["x"]\n'
FILES = {"Dockerfile": SIMPLE, "a": "1", "b": "2"}
