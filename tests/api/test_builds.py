"""POST /build and what belongs to it, on an engine whose steps are programs of this machine."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import re
import socket
import tarfile
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from corten.build.plan.planner import Planned, Planner
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
STREAM = r"""Step 1/4 : FROM test
 ---> [0-9a-f]{12}
Step 2/4 : RUN echo hello; echo hello > said
 ---> Running in [0-9a-f]{12}
hello
Removing intermediate container [0-9a-f]{12}
 ---> [0-9a-f]{12}
Step 3/4 : COPY a b /data/
 ---> [0-9a-f]{12}
Step 4/4 : CMD \["x"\]
 ---> ([0-9a-f]{12})
Successfully built \1
Successfully tagged made:1
"""
CACHED = r"""Step 1/4 : FROM test
 ---> [0-9a-f]{12}
Step 2/4 : RUN echo hello; echo hello > said
 ---> Using cache
 ---> [0-9a-f]{12}
Step 3/4 : COPY a b /data/
 ---> Using cache
 ---> [0-9a-f]{12}
Step 4/4 : CMD \["x"\]
 ---> Using cache
 ---> ([0-9a-f]{12})
Successfully built \1
Successfully tagged made:1
"""


def test_the_classic_stream(http: Connection, daemon: Daemon) -> None:
    first = build(http, FILES, "t=made:1")
    shown = re.fullmatch(STREAM, text(first))
    assert shown, text(first)
    assert first[:2] == [{"stream": "Step 1/4 : FROM test"}, {"stream": "\n"}]
    assert [line["stream"] for line in first if line.get("stream", "").startswith("Step ")] == re.findall(
        "^Step .*", text(first), re.MULTILINE
    )
    found = inspect(http, "made:1")
    assert found["Id"] == image_of(first) and found["Id"][7:19] == shown[1]
    assert first[-3:] == [
        {"aux": {"ID": found["Id"]}},
        {"stream": f"Successfully built {shown[1]}\n"},
        {"stream": "Successfully tagged made:1\n"},
    ]
    assert (found["Config"]["Cmd"], found["RepoTags"]) == (["x"], ["made:1"])
    assert [said(daemon, "made:1", name) for name in ("said", "data/a", "data/b")] == ["hello\n", "1", "2"]
    second = build(http, FILES, "t=made:1")
    assert re.fullmatch(CACHED, text(second)), text(second)
    assert image_of(second) == image_of(first)
    assert len(daemon.engine.steps) == 2


def test_a_stage_that_begins_with_another_one(http: Connection) -> None:
    """Its FROM has the id of the other one's last line, as dockerd shows it, and not that of the image below both."""
    shown = text(build(http, {"Dockerfile": "FROM test AS one\nENV A=b\nFROM one AS two\nFROM two\nLABEL x=y\n"}))
    ids = re.findall("^ ---> ([0-9a-f]{12})$", shown, re.MULTILINE)
    assert len(ids) == 5 and ids[0] == inspect(http, "test")["Id"][7:19]
    assert ids[1] == ids[2] == ids[3] != ids[0]


SETTINGS = "FROM test\nENV A=1\nLABEL l=1\nARG Q\nWORKDIR /w\nWORKDIR /\nCMD x\nRUN echo hello\nLABEL l=1\n"


def cached(lines: Lines) -> list[str]:
    """Steps that were in the cache."""
    return re.findall(r"^Step \d+/\d+ : (.*)\n ---> Using cache$", text(lines), re.MULTILINE)


def test_settings_are_cached_as_steps_are(http: Connection) -> None:
    every = SETTINGS.splitlines()[1:]
    assert cached(build(http, {"Dockerfile": SETTINGS})) == []
    assert cached(build(http, {"Dockerfile": SETTINGS})) == every
    assert cached(build(http, {"Dockerfile": SETTINGS}, f"labels={quote(json.dumps({'k': '1'}))}")) == every
    with_label = build(http, {"Dockerfile": SETTINGS}, f"labels={quote(json.dumps({'k': '1'}))}")
    assert cached(with_label) == [*every, "LABEL k=1"]
    assert cached(build(http, {"Dockerfile": SETTINGS}, "nocache=1")) == []
    other = build(http, {"Dockerfile": SETTINGS.replace("A=1", "A=2")})
    assert cached(other) == ["WORKDIR /w"]  # the directory, which is there whatever the settings are
    assert cached(build(http, {"Dockerfile": "FROM test\nENV A=1\nLABEL l=2\n"})) == ["ENV A=1"]


def test_cache_from_is_all_that_a_classic_build_looks_at(http: Connection) -> None:
    files = {"Dockerfile": SETTINGS + "COPY a /data/\nRUN --network=none echo 2\n", "a": "1"}
    every = files["Dockerfile"].splitlines()[1:-1]
    first = image_of(build(http, files, "t=one"))
    again = build(http, files, f"cachefrom={quote(json.dumps(['nosuch', 'one']))}")
    assert cached(again) == every  # of the last its line of the history says too little
    assert image_of(again) == first
    changed = build(http, {**files, "a": "2"}, f"t=two&cachefrom={quote(json.dumps(['one']))}")
    assert cached(changed) == every[:-1]
    for name in ("nosuch", "%", "test"):
        assert cached(build(http, files, f"cachefrom={quote(json.dumps([name]))}")) == []
    by_the_graph = build(http, files, f"trace=1&cachefrom={quote(json.dumps(['nosuch']))}")
    assert all(name.endswith(" CACHED") for name in names(by_the_graph) if "RUN" in name)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_context(http: Connection, mode: str) -> None:
    build(http, context(FILES, mode), "t=made")
    assert inspect(http, "made")["Config"]["Cmd"] == ["x"]


def test_nothing_is_left_of_a_context(http: Connection, daemon: Daemon) -> None:
    build(http, FILES)
    refused(http, {**FILES, "Dockerfile": "NONE"})
    assert list((daemon.root / "build" / "contexts").iterdir()) == []


def test_the_cache_is_there_after_a_restart(http: Connection, daemon: Daemon) -> None:
    build(http, FILES)
    from corten.build.cache.cache import Cache
    from corten.store.records import Records

    read = Cache(Records(daemon.engine.store.database))
    assert {record.key for record in read.all()} == {record.key for record in daemon.engine.store.cache.all()}
    assert len(read) == 3


def test_what_a_step_depends_on(http: Connection, daemon: Daemon) -> None:
    """A file that is not copied, a later instruction and a time change nothing; content and arguments do."""
    dockerfile = "FROM test\nARG A=1\nCOPY a /\nRUN echo $A > x\nLABEL l=1\n"
    steps = daemon.engine.steps

    def done(files: dict[str, str], query: str = "") -> int:
        before = len(steps)
        build(http, files, query)
        return len(steps) - before

    files = {"Dockerfile": dockerfile, "a": "1", "other": "1"}
    assert done(files) == 2
    assert done({**files, "other": "2"}) == 0
    assert done({**files, "Dockerfile": dockerfile.replace("l=1", "l=2")}) == 0
    assert done({**files, "a": "2"}) == 2
    assert done(files, "buildargs=" + quote('{"A":"2"}')) == 1
    assert done(files, "buildargs=" + quote('{"HTTP_PROXY":"http://p"}')) == 0
    assert done(files, "nocache=1") == 2


def test_a_parent_of_the_same_content_hits(http: Connection, daemon: Daemon) -> None:
    """A changed command that writes the same: what is built on it needs not be done again."""
    dockerfile = "FROM test\nRUN {}\nRUN cat x > y\n"
    steps = daemon.engine.steps
    first = build(http, {"Dockerfile": dockerfile.format("echo 1 > x")})
    second = build(http, {"Dockerfile": dockerfile.format("printf '1\\n' > x")})
    assert [step.args[-1] for step in steps if hasattr(step, "args")] == [
        "echo 1 > x",
        "cat x > y",
        "printf '1\\n' > x",
    ]
    assert text(second).count("Using cache") == 1
    chains = [daemon.engine.images.resolve(image_of(lines)).chain_id for lines in (first, second)]
    assert chains[0] == chains[1]


def test_what_was_made_for_nothing_is_gone(http: Connection, daemon: Daemon) -> None:
    """A layer that an older one of the same content takes the place of."""
    dockerfile = "FROM test\nRUN {}\n"
    build(http, {"Dockerfile": dockerfile.format("echo 1 > x")})
    build(http, {"Dockerfile": dockerfile.format("echo 1 > x; touch -d @5 x")})
    assert daemon.engine.images.store.collector.orphans() == 0


def test_the_base_is_removed_meanwhile(http: Connection, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Planner.plan

    async def planned(planner: Planner) -> Planned:
        found = await plan(planner)
        await daemon.engine.images.remove("test", force=True)
        return found

    monkeypatch.setattr(Planner, "plan", planned)
    lines = build(http, {"Dockerfile": "FROM test\nRUN echo 1 > x\n"}, "t=made")
    assert len(inspect(http, image_of(lines))["RootFS"]["Layers"]) == 2


def test_a_failed_step(http: Connection) -> None:
    lines = build(http, {"Dockerfile": "FROM test\nRUN echo before; exit 7\nRUN never\n"})
    message = "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"
    assert lines[-1] == {"errorDetail": {"code": 7, "message": message}, "error": message}
    assert text(lines).endswith("before\n") and "RUN never" not in text(lines)


def test_errors_before_anything_is_shown_have_a_status(http: Connection) -> None:
    assert refused(http, {"Dockerfile": "FROM test\nFOO x\n"}) == (
        400,
        "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)",
    )
    assert refused(http, {"a": "1"}) == (404, "Cannot locate specified Dockerfile: Dockerfile")
    assert refused(http, {"Dockerfile": "FROM test\n"}, "target=x")[0] == 400
    assert refused(http, b"no tar at all" * 100)[0] == 400
    assert refused(http, FILES, "squash=1") == (400, "squash is only supported with experimental mode")
    assert refused(http, FILES, "t=UPPER")[0] == 400
    assert refused(http, FILES, "buildargs=x") == (400, "invalid value for buildargs: not JSON")


def test_quiet(http: Connection) -> None:
    lines = build(http, FILES, "q=1")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", text(lines)) and len(lines) == 1


def test_dockerfile_by_name_and_labels(http: Connection) -> None:
    files = {"sub/Other": "FROM test\nLABEL a=file b=file\n", "Dockerfile": "NONE"}
    build(http, files, "t=made&dockerfile=sub/Other&labels=" + quote('{"a": "flag"}'))
    assert inspect(http, "made")["Config"]["Labels"] == {"of": "image", "a": "flag", "b": "file"}


def test_an_argument_that_nothing_takes(http: Connection) -> None:
    lines = build(http, FILES, "buildargs=" + quote('{"NOPE": "1", "http_proxy": "x"}'))
    assert "[Warning] One or more build-args [NOPE] were not consumed\n" in text(lines)


# ------------------------------------------------------------------------------------------------------------- stages

STAGES = """FROM test AS one
RUN echo one > one
FROM test AS unneeded
RUN exit 1
FROM test AS two
RUN echo two > two
FROM test
COPY --from=one one /
COPY --from=2 two /
RUN cat one two > both
"""


def test_stages_by_the_graph(http: Connection, daemon: Daemon) -> None:
    lines = build(http, {"Dockerfile": STAGES}, "trace=1&t=made")
    assert said(daemon, "made", "both") == "one\ntwo\n"
    shown = names(lines)
    assert {"[one 2/2] RUN echo one > one", "[two 2/2] RUN echo two > two"} <= {*shown}
    assert not [name for name in shown if "unneeded" in name]
    assert "[stage-3 4/4] RUN cat one two > both" in shown and shown[-1] == "exporting to image"
    again = names(build(http, {"Dockerfile": STAGES}, "trace=1"))
    assert [name for name in again if name.startswith("[") and "internal" not in name and "CACHED" not in name] == []


def test_stages_of_the_classic_builder_are_all_done(http: Connection) -> None:
    lines = build(http, {"Dockerfile": STAGES})
    assert lines[-1]["errorDetail"]["code"] == 1


def test_target(http: Connection) -> None:
    build(http, {"Dockerfile": STAGES}, "target=ONE&t=made")
    assert "one > one" in inspect(http, "made")["Config"]["Cmd"] or inspect(http, "made")["RootFS"]["Layers"]


def test_independent_stages_run_side_by_side(http: Connection, tmp_path: Any) -> None:
    """Each of the two waits for what the other one writes."""
    wait = "for i in $(seq 500); do [ -e {0} ] && break; sleep 0.02; done; test -e {0}"
    a, b = tmp_path / "a", tmp_path / "b"
    dockerfile = (
        f"FROM test AS a\nRUN touch {a}; {wait.format(b)}; touch x\n"
        f"FROM test AS b\nRUN touch {b}; {wait.format(a)}; touch y\n"
        "FROM test\nCOPY --from=a x /\nCOPY --from=b y /\n"
    )
    assert "error" not in build(http, {"Dockerfile": dockerfile})[-1]


def test_the_same_step_of_two_builds_is_done_once(daemon: Daemon, tmp_path: Any) -> None:
    go = tmp_path / "go"
    wait = f"for i in $(seq 500); do [ -e {go} ] && break; sleep 0.02; done; echo 1 > x"
    dockerfile = f"FROM test\nRUN {wait}\n"
    found: list[str] = []

    def one() -> None:
        connection = Connection(daemon)
        found.append(image_of(build(connection, {"Dockerfile": dockerfile})))
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    go.touch()
    for thread in threads:
        thread.join(20)
    assert len(found) == 3 and len(set(found)) == 1
    assert len(daemon.engine.steps) == 1


# ------------------------------------------------------------------------------------------------------------- a trace


def decoded(lines: Lines) -> Iterable[str]:
    for line in lines:
        for log in line.get("logs", ()):
            yield base64.b64decode(log["data"]).decode()


def test_the_trace_of_a_failed_step_has_its_lines(http: Connection) -> None:
    dockerfile = "FROM test\n\nRUN echo no; \\\n  exit 3\n"
    lines = build(http, {"Dockerfile": dockerfile}, "trace=1")
    detail = lines[-1]["errorDetail"]
    message = 'process "/bin/sh -c echo no;   exit 3" did not complete successfully: exit code: 3'
    assert (detail["message"], detail["code"], detail["ranges"]) == (message, 3, [[3, 4]])
    assert (detail["filename"], detail["dockerfile"]) == ("Dockerfile", dockerfile)
    failed = next(v for line in lines for v in line.get("vertexes", ()) if v.get("error"))
    assert (failed["digest"], failed["error"]) == (detail["vertex"], message)
    assert list(decoded(lines)) == ["no\n"]


def test_a_missing_base_has_its_line(http: Connection) -> None:
    lines = build(http, {"Dockerfile": "FROM test AS a\nFROM 127.0.0.1:1/x\n"}, "trace=1")
    assert lines[-1]["errorDetail"]["ranges"] == [[2, 2]]
    assert "failed to resolve source metadata for 127.0.0.1:1/x:latest" in lines[-1]["error"]


def test_circles(http: Connection) -> None:
    dockerfile = "FROM test AS a\nCOPY --from=b x /\nFROM test AS b\nCOPY --from=a x /\n"
    lines = build(http, {"Dockerfile": dockerfile}, "trace=1")
    assert "circular dependency detected on stage" in lines[-1]["error"]


def test_onbuild(http: Connection, daemon: Daemon) -> None:
    build(http, {"Dockerfile": "FROM test\nONBUILD COPY a /a\nONBUILD ENV X=1\n"}, "t=base")
    assert inspect(http, "base")["Config"]["OnBuild"] == ["COPY a /a", "ENV X=1"]
    build(http, {"Dockerfile": "FROM base\nRUN cat a > b\n", "a": "from onbuild"}, "t=made")
    found = inspect(http, "made")["Config"]
    assert found["OnBuild"] is None and "X=1" in found["Env"]
    assert said(daemon, "made", "b") == "from onbuild"


def test_an_excluded_dockerfile_is_read_and_not_copied(http: Connection, daemon: Daemon) -> None:
    files = {"Dockerfile": "FROM test\nCOPY . /c/\n", ".dockerignore": "Dockerfile\n.dockerignore\n", "a": "1"}
    build(http, files, "t=made")
    assert said(daemon, "made", "c/a") == "1"
    for name in ("c/Dockerfile", "c/.dockerignore"):
        with pytest.raises(AssertionError, match="is not in"):
            said(daemon, "made", name)


# ---------------------------------------------------------------------------------------------- cancelling, the cache


def test_cancel_by_id(http: Connection, daemon: Daemon, tmp_path: Any) -> None:
    begun = tmp_path / "begun"
    wait = f"touch {begun}; exec sleep 1000"
    found: list[Lines] = []

    def one() -> None:
        connection = Connection(daemon)
        found.append(build(connection, {"Dockerfile": f"FROM test\nRUN {wait}\n"}, "buildid=mine"))
        connection.close()

    thread = threading.Thread(target=one)
    thread.start()
    _until(begun.exists)
    assert http.ask("POST", "/build/cancel?id=mine")[0] == 204
    thread.join(60)
    assert "cancel" in found[0][-1]["error"]
    assert daemon.run(daemon.engine.builds.usage()) == []


def test_a_client_that_goes_away_ends_its_build(daemon: Daemon, tmp_path: Any) -> None:
    pid = tmp_path / "pid"
    connection = Connection(daemon)
    body = context({"Dockerfile": f"FROM test\nRUN echo $$ > {pid}; exec sleep 1000\n"})
    connection.request("POST", "/build", body)
    _until(lambda: pid.exists() and pid.read_text())
    process = int(pid.read_text())
    connection.close()
    _until(lambda: not _runs(process))
    _until(lambda: not list((tmp_path / "build" / "contexts").iterdir()))


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # before it is opened, or before it is read
        return False


def _until(condition: Any) -> None:
    import time

    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_cache_is_listed_and_pruned(http: Connection, daemon: Daemon) -> None:
    build(http, FILES, "t=made")
    status, usage = http.ask("GET", "/system/df")
    *rows, past = usage["BuildCache"]
    assert status == 200 and len(rows) == 3
    assert past["Type"] == "internal" and past["Size"] > 100  # the history
    first = next(row for row in rows if "RUN" in row["Description"])
    assert (first["Size"], first["Shared"], first["InUse"], first["UsageCount"]) == (6, True, False, 1)
    assert next(row for row in rows if "COPY" in row["Description"])["Parents"] == [first["ID"]]
    assert http.ask("POST", "/build/prune")[1] == {"CachesDeleted": None, "SpaceReclaimed": 0}
    http.ask("DELETE", "/images/made")
    assert len(list(daemon.engine.store.trees.tree_store.keys(True))) == 3
    labelled = quote('{"label": ["x=1"]}')
    assert http.ask("POST", f"/build/prune?all=1&filters={labelled}")[1]["CachesDeleted"] is None
    filtered = quote('{"description": ["COPY"], "label!": ["x"]}')
    deleted = http.ask("POST", f"/build/prune?filters={filtered}")[1]
    assert len(deleted["CachesDeleted"]) == 1 and deleted["SpaceReclaimed"] > 2
    status, deleted = http.ask("POST", "/build/prune?all=1")
    settings = next(row for row in rows if "CMD" in row["Description"])
    assert settings["Shared"] and set(deleted["CachesDeleted"]) == {first["ID"], settings["ID"]}
    assert len(list(daemon.engine.store.trees.tree_store.keys(True))) == 1
    assert http.ask("POST", "/build/prune?filters=" + quote('{"nope": ["1"]}'))[0] == 400


def test_builder_size_of_older_clients(http: Connection) -> None:
    build(http, FILES)
    past = http.ask("GET", "/system/df")[1]["BuildCache"][-1]["Size"]
    assert http.ask("GET", "/v1.41/system/df")[1]["BuilderSize"] == past  # an image has all the rest


def test_the_history_of_builds(http: Connection) -> None:
    """A build that was done, and one that failed, with what they said; removed one by one."""
    for one in http.ask("GET", "/build/history")[1]:  # of other tests
        http.ask("DELETE", f"/build/history/{one['Ref']}")
    build(http, FILES, "t=made&buildid=first&buildargs=" + quote('{"A": "http://u:s3cret@h"}'))
    build(http, {"Dockerfile": "FROM test\nRUN exit 3\n"}, "buildid=second")
    status, (second, first) = http.ask("GET", "/build/history")
    assert (status, first["Ref"], first["State"], second["State"]) == (200, "first", "completed", "error")
    assert first["Image"].startswith("sha256:") and first["Attributes"]["build-arg:A"] == "http://xxxxx@h"
    assert first["Steps"]["Completed"] == first["Steps"]["Total"] > 3 and "code: 3" in second["Error"]
    assert http.ask("GET", "/build/history/sec")[1] == second
    said = http.ask("GET", "/build/history/second/logs")[1]
    assert "RUN exit 3" in json.dumps(said)
    assert http.ask("POST", "/build/history/first/pin")[0] == 204
    assert http.ask("GET", "/build/history/first")[1]["Pinned"]
    assert http.ask("DELETE", "/build/history/nothing")[0] == 404
    assert http.ask("DELETE", "/build/history/second")[0] == 204
    assert [each["Ref"] for each in http.ask("GET", "/build/history")[1]] == ["first"]


def test_credentials_are_taken_from_the_header(http: Connection) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"r.example": {"username": "u", "password": "p"}}).encode()).decode()
    build(http, FILES, "", **{"X-Registry-Config": header})
    build(http, FILES, "", **{"X-Registry-Config": "bnVsbA=="})
    status, answer = http.ask("POST", "/build", context(FILES), **{"X-Registry-Config": "%"})
    assert (status, answer["message"]) == (400, "invalid X-Registry-Config header: not base64url")


@pytest.fixture
def web(tmp_path: Any) -> Iterator[str]:
    """A directory of files behind a URL."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "Dockerfile").write_text("FROM test\nENV A=1\n")
    (root / "file").write_text("content\n")
    (root / "context.tar.gz").write_bytes(context(FILES, "w:gz"))
    handler = functools.partial(QuietHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


def test_a_context_at_a_url(http: Connection, daemon: Daemon, web: str) -> None:
    build(http, b"", f"t=made&remote={web}/context.tar.gz")
    assert said(daemon, "made", "data/a") == "1"
    build(http, b"", f"t=made&remote={web}/Dockerfile")
    assert "A=1" in inspect(http, "made")["Config"]["Env"]
    assert refused(http, b"", f"remote={web}/nothing")[0] == 404
    assert refused(http, b"", "remote=https://host/x.git%23main") == (501, "this engine has no git")


@pytest.mark.parametrize(
    ("remote", "status", "message"),
    [
        ("https://host/x.git#--upload-pack=touch /tmp/x", 400, "invalid address of a git repository"),
        ("https://host/x.git#--upload-pack=x", 400, "invalid git ref: '--upload-pack=x'"),
        ("git://host/x#main:../../../etc", 400, "invalid subdir of a git repository"),
        ("git@host:x#main:.git", 400, "invalid subdir of a git repository"),
        ("ssh://-oProxyCommand=x/y", 400, "has no host that can be asked"),
        ("git@-oProxyCommand=x:y", 501, "a context at"),
        ("ext::sh -c x", 501, "a context at 'ext::sh -c x' is not supported"),
        ("file:///etc", 501, "a context at 'file:///etc' is not supported"),
        ("/etc", 501, "a context at '/etc' is not supported"),
        ("-x", 501, "a context at '-x' is not supported"),
    ],
)
def test_contexts_that_are_refused(http: Connection, daemon: Daemon, remote: str, status: int, message: str) -> None:
    found = refused(http, b"", f"remote={quote(remote, safe='')}")
    assert found[0] == status and message in found[1]
    assert not (contexts := daemon.root / "build/contexts").exists() or not list(contexts.iterdir())


CONTENT = "sha256:434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53"


def test_a_file_from_the_web(http: Connection, daemon: Daemon, web: str) -> None:
    files = {"Dockerfile": f"FROM test\nADD --checksum={CONTENT} {web}/file /d/\nADD {web}/context.tar.gz /e/\n"}
    for query in ("t=made", "t=made&trace=1"):
        build(http, files, query)
        assert said(daemon, "made", "d/file") == "content\n"
        _until(lambda: not list((daemon.root / "build/contexts").iterdir()))
    assert cached(build(http, files)) == files["Dockerfile"].splitlines()[1:]


def test_a_download_that_is_cancelled_leaves_nothing(http: Connection, daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        lines: Lines = []

        def one() -> None:
            connection = Connection(daemon)
            lines.extend(build(connection, {"Dockerfile": f"FROM test\nADD {url} /\n"}, "buildid=slow"))
            connection.close()

        client = threading.Thread(target=one)
        client.start()
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")
            _until(lambda: list((daemon.root / "build/contexts").glob("*/files/1/x")))
            assert http.ask("POST", "/build/cancel?id=slow")[0] == 204
            client.join(20)
    assert lines[-1]["error"] == "the build was cancelled: context canceled"
    _until(lambda: not list((daemon.root / "build/contexts").iterdir()))


def test_a_download_is_bounded(http: Connection, daemon: Daemon, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.build.downloads.ALWAYS", 7)
    secret = web.replace("//", "//user:secret@")
    lines = build(http, {"Dockerfile": f"FROM test\nADD {secret}/file /\n"})
    assert lines[-1]["error"] == f"{web}/file has more than 7 bytes"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing /", "failed to GET {web}/nothing with status 404"),
        (f"--checksum={CONTENT[:-1]}0 file /", f"digest mismatch {CONTENT}: {CONTENT[:-1]}0"),
        (" /d/", "cannot determine filename for source {web}/"),
    ],
)
def test_a_file_from_the_web_that_fails_its_step(
    http: Connection, daemon: Daemon, web: str, source: str, message: str
) -> None:
    flag, _, rest = source.rpartition(" file ")
    line = f"ADD {flag} {web}/file {rest}" if flag else f"ADD {web}/{source}"
    lines = build(http, {"Dockerfile": f"FROM test\n{line}\n"})
    assert text(lines).endswith(f"Step 2/2 : {line}\n")
    assert lines[-1]["error"].startswith(message.format(web=web))
    if not source.startswith(" "):
        traced = build(http, {"Dockerfile": f"FROM test\n{line}\n"}, "trace=1")
        assert traced[-1]["errorDetail"]["ranges"] == [[2, 2]]
    _until(lambda: not list((daemon.root / "build/contexts").iterdir()))


def test_what_the_checks_say(http: Connection) -> None:
    dockerfile = "FROM test as x\nRUN echo $NONE\nWORKDIR rel\n"
    lines = build(http, {"Dockerfile": dockerfile}, "trace=1")
    found = [(w["short"], w["range"][0]["start"]["line"]) for line in lines for w in line.get("warnings", ())]
    texts = [(base64.b64decode(text).decode(), line) for text, line in found]
    assert texts[0] == ("FromAsCasing: 'as' and 'FROM' keywords' casing do not match", 1)
    assert {line for _, line in texts} == {1, 3}
    failed = build(http, {"Dockerfile": "# check=error=true\n" + dockerfile}, "trace=1")[-1]
    assert failed["error"].startswith("lint violation found for rules: ")
    assert failed["errorDetail"]["ranges"] == [[2, 2]]


def test_source_date_epoch(http: Connection) -> None:
    """The same image without anything of the first build, but for the times that a RUN gives its files."""
    query = "nocache=1&t=made&buildargs=" + quote('{"SOURCE_DATE_EPOCH": "1700000000"}')
    build(http, {"Dockerfile": "FROM test\nWORKDIR /w\nENV A=1\n"}, query)
    assert inspect(http, "made")["Created"] == "2023-11-14T22:13:20Z"
