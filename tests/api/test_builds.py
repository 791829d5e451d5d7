"""POST /build and what belongs to it, on an engine whose steps are programs of this machine."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import pytest

from build_requests import FILES, Lines, build, context, image_of, inspect, names, refused, said, text
from corten.build.plan.planner import Planned, Planner
from e2e_parts.patience import PATIENCE
from fakes.daemon import Connection, Daemon

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


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_context(http: Connection, mode: str) -> None:
    build(http, context(FILES, mode), "t=made")
    assert inspect(http, "made")["Config"]["Cmd"] == ["x"]


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
    wait = f"for i in $(seq {PATIENCE / 0.02:.0f}); do [ -e {{0}} ] && break; sleep 0.02; done; test -e {{0}}"
    a, b = tmp_path / "a", tmp_path / "b"
    dockerfile = (
        f"FROM test AS a\nRUN touch {a}; {wait.format(b)}; touch x\n"
        f"FROM test AS b\nRUN touch {b}; {wait.format(a)}; touch y\n"
        "FROM test\nCOPY --from=a x /\nCOPY --from=b y /\n"
    )
    assert "error" not in build(http, {"Dockerfile": dockerfile})[-1]


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
