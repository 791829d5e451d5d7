"""What docker 20.10 and buildx really sent (tests/record_buildkit.py), read again without them."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from corten.build.contract import Asked
from corten.build.outputs import options
from corten.build.transfer.sink import TreeSink
from corten.build.transfer.small import Small
from corten.buildkit.packets import Packets
from corten.buildkit.requests import asked
from corten.buildkit.results import named_by
from corten.http2.connection import Connection, Data, Headers
from corten.http2.grpc import Cut, framed
from corten.spec.protobuf import control, gateway
from corten.spec.protobuf.session import GetSecretResponse

HERE = Path(__file__).parent / "recorded"
TIME = 1_700_000_000_123_456_789
BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
CLIENTS = ("docker-20.10", "buildx")


def connections(client: str, request: str) -> list[bytes]:
    found: list[dict[str, Any]] = json.loads((HERE / f"{client}.json").read_text())
    return [base64.b64decode(each["client"]) for each in found if each["request"].endswith(request)]


def streams(data: bytes, client: bool) -> dict[int, tuple[list[tuple[str, str]], bytes]]:
    """Of each stream the headers, trailers among them, and the bytes."""
    connection = Connection(client=client, window=4 << 20)
    for _ in range(50 if client else 0):
        connection.open([(":path", "/x")], end=False)
    found: dict[int, tuple[list[tuple[str, str]], bytes]] = {}
    for at in range(0, len(data), 1000):
        for event in connection.receive(data[at : at + 1000]):
            if isinstance(event, Headers | Data):
                headers, body = found.get(event.stream, ([], b""))
                more = list(event.headers) if isinstance(event, Headers) else []
                found[event.stream] = headers + more, body + (event.data if isinstance(event, Data) else b"")
    return found


def feed(receiver: Packets, body: bytes) -> None:
    """One message after the other, as the last one came behind what the receiver said."""
    for message in Cut().feed(body):
        receiver.feed(framed(message))


@pytest.mark.parametrize("client", CLIENTS)
def test_the_files_of_a_session(client: str, tmp_path: Path) -> None:
    seen = streams(connections(client, "/session")[-1], client=True)
    assert all(("grpc-status", "0") in headers for headers, _ in seen.values())
    small: dict[str, bytes] = {}
    secrets, tree = [], tmp_path / "tree"
    tree.mkdir()
    for _, body in seen.values():
        if b"bbbbbbbb" in body:
            sink = TreeSink(tree)
            receiver = Packets(sink)
            feed(receiver, body)
            sink.close()
            assert receiver.finished and receiver.received == 70_000 + len("a\n*.log\n") + len(small["Dockerfile"])
        elif b"\x12" in body and (b"Dockerfile" in body or b".dockerignore" in body):
            found = Small(4096)
            receiver = Packets(found)
            feed(receiver, body)
            assert receiver.finished
            small |= {name: content for name in ("Dockerfile", ".dockerignore") if (content := found.found(name))}
        else:
            secrets.append(GetSecretResponse.decode(Cut().feed(body)[0]).data)
    assert small[".dockerignore"] == b"*.log\n" and small["Dockerfile"].startswith(b"FROM corten/busybox\n")
    assert secrets == [b"content\n"]
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == [
        ".dockerignore",
        "Dockerfile",
        "a",
        "hard",
        "lnk",
        "sub",
        "sub/b",
    ]
    assert (tree / "a").stat().st_ino == (tree / "hard").stat().st_ino and os.readlink(tree / "lnk") == "sub/b"
    assert stat.S_IMODE((tree / "sub/b").stat().st_mode) == 0o4755
    assert {path.lstat().st_mtime_ns for path in tree.rglob("*")} == {TIME}


def test_the_calls_of_buildx() -> None:
    calls: dict[str, list[bytes]] = {}
    for connection in connections("buildx", "/grpc"):
        for headers, body in streams(connection, client=False).values():
            calls.setdefault(dict(headers)[":path"], []).extend(Cut().feed(body))
    solves = [control.SolveRequest.decode(each) for each in calls["/moby.buildkit.v1.Control/Solve"]]
    assert [each.internal for each in solves] == [True, False]
    real = [each for each in solves if each.exporters]
    assert len(real) == 1 and real[0].frontend == "" and real[0].exporters[0].type == "moby"
    exporter = real[0].exporters[0]
    outputs, unknown = options.read([Asked(exporter.type, exporter.attributes)])
    names = ("docker.io/library/recorded:latest",)
    assert unknown == () and outputs == {0: options.ImageOutput(options.Form(inline=True), names)}
    bridge = [gateway.BridgeSolveRequest.decode(each) for each in calls[f"{BRIDGE}/Solve"]]
    attributes = next(each.attributes for each in bridge if each.frontend == "dockerfile.v0")
    request = asked(attributes, real[0], "id").request
    assert (request.dockerfile, request.pull, request.network) == ("", False, "default")
    results = [gateway.ReturnRequest.decode(each).result for each in calls[f"{BRIDGE}/Return"]]
    refs = [result.one for result in results if result is not None and result.one is not None and result.one.id]
    assert len(refs) == 1 and refs[0].definition is not None and named_by(refs[0].definition) == refs[0].id
