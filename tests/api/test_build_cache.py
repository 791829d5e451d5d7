"""What a build does not do again, what the cache shows of it, and its removal."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import quote

from build_requests import FILES, build, cached, image_of, names, text
from e2e_parts.patience import PATIENCE
from fakes.daemon import Connection, Daemon

SETTINGS = "FROM test\nENV A=1\nLABEL l=1\nARG Q\nWORKDIR /w\nWORKDIR /\nCMD x\nRUN echo hello\nLABEL l=1\n"


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
        thread.join(PATIENCE)
    assert len(found) == 3 and len(set(found)) == 1
    assert len(daemon.engine.steps) == 1


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
