"""The 84 behaviours of Dockerfiles as real builds: by docker 20.10's own BuildKit client, and where the classic builder
has another one by that too. The numbers are those of tests/unit/spec/dockerfile/test_behaviours.py."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from e2e_parts.behaviours import ALL, FILES, Behaviour, Result
from e2e_parts.builders import Builder, builder
from e2e_parts.clients import Done, execute
from e2e_parts.cortend import IMAGE, Cortend
from web_servers import Quiet, served

_STEP = re.compile(r"(#[0-9]+) (?:\[[^]]*\] )?((?:RUN|COPY|ADD) .*)")
_SAID = re.compile(r"(?:#[0-9]+ [0-9.]+ )?> (.*)")
_SUID_TIME = 981173106123456789  # 2001-02-03T04:05:06.123456789Z


@pytest.fixture(scope="module")
def engine() -> Iterator[Cortend]:
    """A daemon of these tests alone: nothing is counted after each of them."""
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    running = Cortend(root)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(root)


class Face:
    """Builds of a directory by a client: "buildkit" is docker 20.10's own, "corten" ours by the same rules."""

    def __init__(self, name: str, engine: Cortend, root: Path) -> None:
        self.engine = engine
        self.context = root / "context"
        self._builder = builder("corten" if name == "corten" else "docker 20.10", engine, root)
        if name == "classic":
            command, env = (self._builder.command[0], "build"), {**self._builder.env, "DOCKER_BUILDKIT": "0"}
            self._builder = Builder(name, command, env)

    def build(self, text: str, files: Mapping[str, str | bytes], *flags: str) -> Done:
        written = {"Dockerfile": text, **FILES, **files}
        for name, content in written.items():
            path = self.context / name.rstrip("@*")
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("@"):
                path.symlink_to(str(content))
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            if name.endswith("*"):
                path.chmod(0o4751)
                os.utime(path, ns=(_SUID_TIME, _SUID_TIME))
        return self.again(*flags)

    def again(self, *flags: str) -> Done:
        command = [*self._builder.command, *flags, "-t", "made", str(self.context)]
        return execute(command, timeout=100, env=self._builder.env)

    def check(self, done: Done, expected: Result) -> None:
        everything = done.out + done.err
        if expected.error:
            assert done.code != 0 and expected.error in done.err, everything
        else:
            assert done.code == 0, everything
        if expected.says or not (expected.error or expected.config or expected.history):
            assert said(done) == list(expected.says), everything
        assert expected.shown in everything
        assert not expected.unseen or expected.unseen not in everything
        if expected.config or expected.history:
            self._check_image(expected)

    def _check_image(self, expected: Result) -> None:
        shown = self.engine.get("/images/made/json")["Config"]
        found: dict[str, Any] = {key: shown.get(key) for key in expected.config}
        wanted = dict(expected.config)
        if isinstance(wanted.get("Env"), dict):
            given = dict(each.split("=", 1) for each in shown["Env"])
            found["Env"] = {name: given.get(name) for name in wanted["Env"]}
        assert found == wanted
        if expected.history:
            lines = [each["CreatedBy"] for each in self.engine.get("/images/made/history")]
            assert lines[: len(expected.history)] == [*reversed(expected.history)]


def said(done: Done) -> list[str]:
    return [match[1] for line in (done.out + done.err).splitlines() if (match := _SAID.fullmatch(line.rstrip("\r")))]


def cached(done: Done) -> list[str]:
    """The steps that were, in the order of the output."""
    names = {match[1]: match[2] for line in done.err.splitlines() if (match := _STEP.fullmatch(line))}
    lines = [line for line in done.err.splitlines() if line.endswith(" CACHED")]
    return [names[number] for line in lines if (number := line.partition(" ")[0]) in names]


def expanded(text: str) -> str:
    text = re.sub(r"^LIST (.*)$", r"RUN find \1 | sort | sed 's/^/> /'", text, flags=re.MULTILINE)
    text = re.sub(r"^STAT (.*)$", r"RUN stat -c '> %n %a %u:%g' \1", text, flags=re.MULTILINE)
    return text.replace("BASE", IMAGE)


def _cases() -> Iterator[Any]:
    for name, behaviour in ALL.items():
        face = "corten" if behaviour.newer else "buildkit"
        yield pytest.param(face, behaviour, behaviour.result, id=f"{face} {name}")
        if behaviour.classic is not None:
            yield pytest.param("classic", behaviour, behaviour.classic, id=f"classic {name}")


@pytest.mark.parametrize(("face", "behaviour", "expected"), [*_cases()])
def test_behaviour(face: str, behaviour: Behaviour, expected: Result, engine: Cortend, tmp_path: Path) -> None:
    """Without the cache: what others have built prints nothing."""
    client = Face(face, engine, tmp_path)
    flags = behaviour.flags.replace("BASE", IMAGE).split()
    done = client.build(expanded(behaviour.dockerfile), behaviour.files, "--no-cache", *flags)
    says = tuple(line.replace("BASE", IMAGE) for line in expected.says)
    client.check(
        done, Result(says, *(getattr(expected, name) for name in ("error", "config", "history", "shown", "unseen")))
    )


@pytest.fixture
def face(engine: Cortend, tmp_path: Path) -> Face:
    return Face("buildkit", engine, tmp_path)


def of(text: str) -> str:
    return expanded(f"FROM BASE\n{text}")


def test_20_a_changed_argument(face: Face) -> None:
    """Misses at the first RUN below its line, and at a COPY that has it in its text."""
    text = of("RUN : 20 a\nARG A=1\nCOPY a /20/a\nRUN : 20 b\nCOPY b /20/b\n")
    assert face.build(text, {}).code == 0
    assert cached(face.again()) == ["RUN : 20 a", "COPY a /20/a", "RUN : 20 b", "COPY b /20/b"]
    changed = face.again("--build-arg", "A=2")
    assert cached(changed)[:2] == ["RUN : 20 a", "COPY a /20/a"] and "RUN : 20 b" not in cached(changed)


def test_51_archives_are_found_by_their_content(face: Face) -> None:
    kinds: list[Literal["w", "w:gz", "w:xz"]] = ["w", "w:gz", "w:xz"]
    packed = {}
    for kind in kinds:
        data, name = io.BytesIO(), kind.replace(":", "-")
        with tarfile.open(fileobj=data, mode=kind) as tar:
            tar.addfile(tarfile.TarInfo(f"in-{name}"))
        packed[f"{name}.txt"] = data.getvalue()
    text = "ADD w.txt /t/\nADD w-gz.txt a w-xz.txt /t/\nADD --unpack=false w.txt /u/\nLIST /t /u\n"
    done = face.build(of(text), packed, "--no-cache")
    assert said(done) == ["/t", "/t/a", "/t/in-w", "/t/in-w-gz", "/t/in-w-xz", "/u", "/u/w.txt"], done.err


class Web(Quiet):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 10:00:00 GMT")
        self.end_headers()
        self.wfile.write(b"x\n")


@pytest.fixture
def web() -> Iterator[str]:
    with served(Web) as address:
        yield address


def test_52_files_of_the_web(face: Face, web: str) -> None:
    right, wrong = (f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (b"x\n", b"y\n"))
    text = f"ADD --checksum={right} {web}/dir/named?q=1 /t/\nRUN stat -c '> %n %a %Y' /t/*\n"
    assert said(face.build(of(text), {}, "--no-cache")) == ["/t/named 600 1577872800"]
    for text, error in (
        (f"ADD --checksum={wrong} {web}/x /t/\n", "digest mismatch"),
        ("ADD http://127.0.0.1:1/x /t/\n", "127.0.0.1:1"),
        (f"COPY {web}/x /t/\n", "source can't be a URL for COPY"),
    ):
        done = face.build(of(text), {})
        assert done.code == 1 and error in done.err, done.err


def test_72_secrets(face: Face, tmp_path: Path) -> None:
    (tmp_path / "s1").write_text("content of a secret\n")
    flags = ("--no-cache", "--secret", f"id=s1,src={tmp_path / 's1'}")
    text = (
        "RUN --mount=type=secret,id=s1 stat -c '> %n %a %u:%g' /run/secrets/s1; grep -c secret /run/secrets/s1\n"
        "RUN --mount=type=secret,id=zz ls /run/secrets/zz || echo '> absent'\n"
        'RUN --mount=type=secret,id=s1,env=TOK echo "> ${#TOK} $(ls /run/secrets | wc -l)"\n'
        'RUN --mount=type=secret,id=s1,env=TOK,target=/both echo "> ${#TOK} $(wc -c < /both)"\n'
        "RUN ls -A /run | sed 's/^/> /'\n"
    )
    done = face.build(of(text), {}, *flags)
    assert said(done) == ["/run/secrets/s1 400 0:0", "absent", "20 0", "20 20"], done.err
    done = face.build(of("RUN --mount=type=secret,id=zz,required true\n"), {}, *flags)
    assert done.code == 1 and "secret zz: not found" in done.err


def test_73_contents_of_secrets_are_in_no_key(face: Face, tmp_path: Path) -> None:
    secret = tmp_path / "s1"
    flags = ("--secret", f"id=s1,src={secret}")
    secret.write_text("one")
    assert face.build(of("RUN --mount=type=secret,id=s1 : 73\n"), {}, *flags).code == 0
    secret.write_text("another")
    assert len(cached(face.again(*flags))) == 1
    assert not cached(face.build(of("RUN --mount=type=secret,id=s1,target=/elsewhere : 73\n"), {}, *flags))


def test_82_what_is_in_the_key_of_a_copy(face: Face) -> None:
    """Times are not; contents, modes and targets of links are. A step on what brought the same is not done again."""
    files = {"82/f": "82", "82/l@": "f"}
    assert face.build(of("COPY 82 /82\nRUN : 82\n"), files).code == 0
    file, link = face.context / "82/f", face.context / "82/l"
    os.utime(file, (1, 1))
    assert cached(face.again()) == ["COPY 82 /82", "RUN : 82"]
    file.write_text("83")
    assert not cached(face.again())
    file.chmod(0o600)
    assert not cached(face.again())
    link.unlink()
    link.symlink_to("a")
    assert not cached(face.again())
    (face.context / "Dockerfile").write_text(of("RUN date +%N > /n; rm /n\nRUN : 82 above\n"))
    assert face.again().code == 0
    (face.context / "Dockerfile").write_text(of("RUN date +%s > /n; rm /n\nRUN : 82 above\n"))
    assert cached(face.again()) == ["RUN : 82 above"]
