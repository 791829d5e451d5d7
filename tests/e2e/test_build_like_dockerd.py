"""The same Dockerfiles, built by the same classic client on a dockerd and on us: the same images, lines and errors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.others import archive, layer
from web_servers import Quiet, served

Engines = tuple[Client, Client, Path]
FILES = {
    "a": "a\n",
    "b": "b\n",
    "d/x": "x\n",
    "d/y.log": "y\n",
    "d/e/z": "z\n",
    "arr[0].txt": "i\n",
    "with blank": "w\n",
}

# Name to Dockerfile, flags of the build. A dockerd without a bridge: RUN has no network.
BUILDS: dict[str, tuple[str, str]] = {
    "config": (
        "FROM base\nENV A=1 B=$A\nENV C a  b   c\nLABEL l=1 m='x $A' n=\"$A\"\n"
        "EXPOSE 80 90-91/udp\nVOLUME /v $A\nUSER 7\n"
        'WORKDIR /w\nWORKDIR x/../y\nSTOPSIGNAL 9\nCMD ["x", "y"]\nENTRYPOINT z\nONBUILD RUN echo hi\n'
        "HEALTHCHECK --interval=5s --retries=2 CMD a b\n",
        "--label l=flag --label o=2",
    ),
    "cmd of a base": ("FROM base\nENTRYPOINT z\n", ""),
    "shell": ('FROM base\nSHELL ["sh", "-e", "-c"]\nRUN echo $0\nCMD echo\n', ""),
    "arguments": (
        "ARG T=base\nFROM $T\nRUN echo .$T.\nARG A=1\nARG T\nRUN echo $A $T\nENV V=env\nARG V=arg\nRUN echo $V\n",
        "--build-arg A=2 --build-arg V=cli --build-arg NOPE=x",
    ),
    "stages": (
        "FROM base AS one\nRUN echo 1 > /one\nFROM base AS two\nARG X=1\nRUN echo 2 > /two\n"
        "FROM two\nCOPY --from=one /one /\nCOPY --from=1 /two /copied\nRUN cat /one /copied; echo .$X.\n",
        "",
    ),
    "target": ("FROM base AS one\nRUN echo one\nFROM base AS two\nRUN exit 1\n", "--target ONE"),
    "copies": (
        "FROM base\nCOPY a /t/\nCOPY a b /t2/\nCOPY d /t3\nCOPY d /t4/\nCOPY d* /t5/\nCOPY arr[[]0].txt /t6/\n"
        'COPY ["with blank", "/t7/"]\nCOPY a /new/name\nCOPY --chown=3:4 a /owned/a\nADD b /added/\n'
        "RUN find /t /t2 /t3 /t4 /t5 /t6 /t7 /new /owned /added | sort; ls -ln /owned\n",
        "",
    ),
    "standard error": ("FROM base\nRUN echo red >&2\n", ""),
    "exit code": ("FROM base\nRUN echo before\nRUN echo out; exit 7\nRUN never\n", ""),
    "unknown instruction": ("FROM base\nFOO x\n", ""),
    "no from": ("RUN x\n", ""),
    "missing source": ("FROM base\nCOPY nope /t/\n", ""),
    "several to a file": ("FROM base\nCOPY a b /t\n", ""),
    "missing stage": ("FROM base\n", "--target nope"),
    "empty volume": ('FROM base\nVOLUME [""]\n', ""),
    "empty base": ("ARG X\nFROM $X\n", ""),
    "onbuild of onbuild": ("FROM base\nONBUILD ONBUILD RUN x\n", ""),
    "user that is not there": ("FROM base\nUSER nosuch\nRUN id\n", ""),
    "other dockerfile": ("FROM base\n", "-f nope"),
}
# Compared by the words and the status alone: the rest of the message names what the other engine does not have.
SIMILAR = {
    "unknown instruction": "unknown instruction: FOO",
    "no from": "no build stage in current context",
    "missing source": "nope",
    "several to a file": "more than one source file, the destination must be a directory and end with a /",
    "missing stage": "nope",
    "empty volume": "VOLUME specified can not be an empty string",
    "empty base": "base name ($X) should not be blank",
    "onbuild of onbuild": "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    "user that is not there": "unable to find user nosuch: no matching entries in passwd file",
    "other dockerfile": "nope",
}


@pytest.fixture(scope="module")
def bases(engines: Engines) -> Engines:
    root = engines[2]
    archive(root / "base.tar", "base:latest", [layer({"etc/base": "base\n"}, programs=True)], {"Cmd": ["true"]})
    for client in engines[:2]:
        client("load", "-q", "-i", str(root / "base.tar"))
    return engines


@pytest.mark.parametrize("name", BUILDS)
def test_like_dockerd(bases: Engines, name: str) -> None:
    text, flags = BUILDS[name]
    directory = bases[2] / "context"
    shutil.rmtree(directory, ignore_errors=True)
    for path, content in {**FILES, "Dockerfile": text}.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(content)
    theirs, ours = (built(client, directory, flags.split()) for client in bases[:2])
    if name in SIMILAR:
        assert SIMILAR[name] in theirs["said"] and SIMILAR[name] in ours["said"], (theirs["said"], ours["said"])
        assert theirs["code"] == ours["code"]
        return
    assert ours == theirs


def built(client: Client, directory: Path, flags: list[str]) -> dict[str, Any]:
    command = [*client.command, "build", "--network", "none", *flags, "-t", "made", str(directory)]
    done = execute(command, timeout=100, env={**client.env, "DOCKER_BUILDKIT": "0"})
    found: dict[str, Any] = {"code": done.code, "lines": normal(done.out), "said": done.out + done.err}
    if done.code == 0:
        found["said"] = ""
        shown = json.loads(client.out("image", "inspect", "made"))[0]
        found["config"] = {
            key: value for key, value in shown["Config"].items() if value not in (None, "", False, [], {})
        }
        found["config"].pop("Image", None)  # the image of the container that it was committed from
        found["history"] = [
            re.sub(r"(file|dir|multi):[0-9a-f]{64}", "DIGEST", line)
            for line in client.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "made").splitlines()
        ]
        client("rmi", "-f", "made")
    else:
        found["said"] = done.err.replace("DEPRECATED", "")
    return found


def normal(text: str) -> list[str]:
    """Lines, without what says how it was done: containers, the cache, ids."""
    kept = []
    for line in text.splitlines():
        line = re.sub("Removing intermediate container [0-9a-f]{12}", "REMOVED", line)
        if line == "REMOVED" or line.startswith((" ---> Running in", "Sending build context")):
            continue
        if line == " ---> Using cache" or re.fullmatch(r"( ---> |Successfully built )[0-9a-f]{12}", line):
            continue
        kept.append(line)
    return kept


class Web(Quiet):
    """The same file at every path, moved from /moved, changed at a known time below /dated."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/dir/target")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"content\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/dated"):
            self.send_header("Last-Modified", "Wed, 01 Jan 2020 10:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web() -> Iterator[str]:
    with served(Web) as address:
        yield address


def test_files_from_the_web_like_dockerd(bases: Engines, web: str) -> None:
    sources = ("a/file.txt /x/", "dated.txt /y", "q.txt?x=1 /x/", "moved /x/", "dir/ /z", "a%20b /x/", "x.git /x/")
    adds = "".join(f"ADD {web}/{source}\n" for source in sources)
    directory = bases[2] / "web"
    directory.mkdir()
    (directory / "Dockerfile").write_text(
        f"FROM base\n{adds}ADD --chown=3:4 {web}/dated /o/\nRUN ls -lnd /x /y /z /o; ls -ln /x /o\n"
    )
    theirs, ours = (built(client, directory, []) for client in bases[:2])
    assert (theirs["code"], ours["code"]) == (0, 0), (theirs["said"], ours["said"])
    shown = [[line for line in found["lines"] if line.startswith("-")] for found in (theirs, ours)]
    assert len(shown[0]) == 8 and shown[0] == shown[1]


CACHED = (
    "FROM base\nENV A=1\nLABEL l=1\nARG Q\nWORKDIR /cached\nWORKDIR /\nCMD x\nRUN echo > made\nLABEL l=1\nCOPY a /\n"
)


def test_the_same_steps_are_cached(bases: Engines) -> None:
    directory = bases[2] / "cached"
    directory.mkdir()
    (directory / "Dockerfile").write_text(CACHED)
    (directory / "a").write_text("a")
    builds = ("-t one", "-t two", "--label k=1", "--label k=1", "--cache-from two", "--cache-from nosuch", "--no-cache")
    theirs, ours = ([cached(client, directory, flags) for flags in builds] for client in bases[:2])
    every = CACHED.splitlines()[1:]
    assert theirs == [[], every, every, [*every, "LABEL k=1"], every, [], []]
    assert ours == theirs


def cached(client: Client, directory: Path, flags: str) -> list[str]:
    command = [*client.command, "build", "--network", "none", *flags.split(), str(directory)]
    done = execute(command, timeout=100, env={**client.env, "DOCKER_BUILDKIT": "0"})
    assert done.code == 0, done.err
    return re.findall(r"^Step \d+/\d+ : (.*)\n ---> Using cache$", done.out, re.MULTILINE)
