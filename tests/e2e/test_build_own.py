"""corten build: what only our own command line does, on a real daemon; and that a client that goes in any phase leaves
nothing (the fixtures count)."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e_parts.builders import remove_builds
from e2e_parts.clients import Client, Done, execute
from e2e_parts.cortend import IMAGE, Cortend


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, no_images_left: None) -> Iterator[None]:
    yield
    remove_builds(daemon)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    top = tmp_path / "context"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_text("a\n")
    (top / "sub/b").write_text("b\n")
    return top


def build(client: Client, *words: str, input: str | bytes | None = None, code: int = 0, **env: str) -> Done:
    done = execute([*client.command, "build", *words], input, timeout=100, env={**client.env, **env})
    assert done.code == code, done
    return done


def written(files: Path, *lines: str) -> str:
    (files / "Dockerfile").write_text("".join(f"{line}\n" for line in (f"FROM {IMAGE}", *lines)))
    return str(files)


def test_what_has_not_changed_is_not_sent_again(corten: Client, files: Path) -> None:
    (files / "large").write_bytes(os.urandom(5 << 20))
    where = written(files, "COPY . /files")
    rows = [json.loads(line) for line in build(corten, "--progress", "rawjson", where).out.splitlines()]
    assert most(rows) > 5 << 20
    (files / "a").write_text("changed\n")
    rows = [json.loads(line) for line in build(corten, "--progress", "rawjson", where).out.splitlines()]
    assert most(rows) == len("changed\n")


def most(rows: list[dict[str, list[dict[str, object]]]]) -> int:
    """Bytes of the context that came."""
    counts = [
        s["current"] for row in rows for s in row.get("statuses") or () if str(s["id"]).startswith("transferring")
    ]
    return max((count for count in counts if isinstance(count, int)), default=0)


def test_only_what_is_copied_is_asked_for(corten: Client, files: Path) -> None:
    (files / "secret").write_text("x")
    (files / "secret").chmod(0)
    os.link(files / "a", files / "sub/c")
    done = build(corten, "--progress", "plain", written(files, "COPY sub /sub", "RUN cat /sub/*"))
    assert " b\n" in done.err and " a\n" in done.err


def test_secrets_of_files_and_variables(corten: Client, files: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("from a file")
    where = written(
        files,
        "RUN --mount=type=secret,id=one --mount=type=secret,id=two,env=TWO test"
        ' "$(wc -c < /run/secrets/one) ${#TWO}" = "11 7"',
        "RUN --mount=type=secret,id=three,required=true true",
    )
    given = ("--secret", f"id=one,src={tmp_path / 's'}", "--secret", "id=two,env=OURS", "--secret", "type=env,id=three")
    done = build(corten, *given, where, OURS="from us", three="")
    assert "from us" not in done.out + done.err
    assert "secret three: not found" in build(corten, "--no-cache", *given[:4], where, code=1, OURS="from us").err
    for bad in ("id=x,src=/nowhere", "src=x", "id=x,foo=1", "id", "id=x,type=y"):
        build(corten, "--secret", bad, where, code=1)


def test_a_secret_that_is_too_large(corten: Client, files: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(bytes((500 << 10) + 1))
    where = written(files, "RUN --mount=type=secret,id=s true")
    done = build(corten, "--secret", f"id=s,src={tmp_path / 's'}", where, code=1)
    assert "the secret s is larger than 512000 bytes" in done.err


def test_agents_that_are_none(corten: Client, files: Path) -> None:
    where = written(files)
    assert "make sure SSH_AUTH_SOCK is set" in build(corten, "--ssh", "default", where, code=1, SSH_AUTH_SOCK="").err
    assert "is no socket" in build(corten, "--ssh", f"x={files / 'a'}", where, code=1).err
    assert "no such file" in build(corten, "--ssh", f"x={files / 'nope'}", where, code=1).err


def test_named_contexts(corten: Client, files: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/o").write_text("other\n")
    where = written(files, "COPY --from=more o /o", "COPY --from=base /bin/busybox /b", "COPY a /a", "RUN cat /o /a")
    named = ("--build-context", f"base=docker-image://{IMAGE}", "--build-context", f"more={tmp_path / 'other'}")
    assert " other\n" in build(corten, *named, where).err
    assert "is not there" in build(corten, "--build-context", "x=/nowhere", where, code=1).err
    assert "expected key=value" in build(corten, "--build-context", "x", where, code=1).err


def test_a_stage_that_begins_with_a_directory(corten: Client, files: Path, tmp_path: Path) -> None:
    """`tree` is a directory of the client with all that a program needs."""
    (tmp_path / "tree/bin").mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), tmp_path / "tree/bin/sh")
    (tmp_path / "tree/o").write_text("of the directory\n")
    (files / "Dockerfile").write_text("FROM tree AS one\nRUN read line < /o; echo $line; echo > /made\nFROM one\n")
    named = ("--build-context", f"tree={tmp_path / 'tree'}", str(files))
    first = build(corten, *named, "-t", "made").err
    assert " of the directory\n" in first and "[one 1/2] FROM tree" in first
    assert " of the directory\n" not in build(corten, *named).err  # which a step that is cached does not say
    layers = json.loads(corten.out("image", "inspect", "made"))[0]["RootFS"]["Layers"]
    assert len(layers) == 2
    corten("rmi", "made")


def test_a_dockerfile_on_standard_input(corten: Client, files: Path) -> None:
    text = f"FROM {IMAGE}\nCOPY a /a\nRUN cat /a; echo piped\n"
    assert "piped" in build(corten, "-f", "-", str(files), input=text).err
    assert "piped" in build(corten, "-", input=f"FROM {IMAGE}\nRUN echo piped\n").err
    assert "not found" in build(corten, "-", input=text, code=1).err  # it has no context
    both = build(corten, "-f", "-", "-", input=text, code=1)
    assert "can't use stdin for both" in both.err


def test_a_tar_on_standard_input_with_secrets(corten: Client, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        lines = f"FROM {IMAGE}\nCOPY f /f\nRUN --mount=type=secret,id=HOME cat /f /run/secrets/HOME | wc -l\n"
        for name, text in (("D", lines), ("f", "from a tar\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    assert " 1\n" in build(corten, "-f", "D", "--secret", "id=HOME", "-", input=packed.getvalue()).err


def test_ignore_files(corten: Client, files: Path) -> None:
    (files / ".dockerignore").write_text("sub\n")
    where = written(files, "COPY . /files", "RUN ls /files")
    assert " sub\n" not in build(corten, where).err
    (files / "Dockerfile.dockerignore").write_text("a\n")
    shown = build(corten, where).err
    assert " sub\n" in shown and " a\n" not in shown


def test_outputs_and_what_is_known_of_them(corten: Client, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    where = written(files, "FROM scratch", "COPY . /")
    to_stdout = subprocess.run(
        [*corten.command, "build", "-q", "-o", "-", where], env=corten.env, capture_output=True, timeout=60, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(to_stdout.stdout)) as tar:
        assert "sub/b" in tar.getnames()
    build(corten, "-o", str(tmp_path / "out"), where)
    assert (tmp_path / "out/sub/b").read_text() == "b\n"
    build(corten, "-o", f"type=oci,tar=false,dest={tmp_path / 'layout'}", where)
    assert sorted(os.listdir(tmp_path / "layout")) == ["blobs", "index.json", "oci-layout"]
    build(
        corten, "--load", "-t", "made", "--metadata-file", str(tmp_path / "m"), "--iidfile", str(tmp_path / "i"), where
    )
    found = json.loads((tmp_path / "m").read_text())
    assert found["image.name"] == "docker.io/library/made:latest"
    assert found["containerimage.descriptor"]["digest"].startswith("sha256:")
    assert found["containerimage.config.digest"] == (tmp_path / "i").read_text()
    assert daemon.get("/images/made/json")["Id"] == (tmp_path / "i").read_text()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("type=local,dest=/proc/nowhere/x", "does not take the output"),
        ("type=tar,dest=/dev/null/x", "does not take the output"),
        ("type=nope", "is not supported"),
        ("type=local", "dest is required"),
        ("dest=x", "type is required"),
        ("type=local,dest=x,mode=delete", "remove the directory before"),
    ],
)
def test_outputs_that_are_none(corten: Client, files: Path, output: str, message: str) -> None:
    assert message in build(corten, "-o", output, written(files), code=1).err


def test_checks(corten: Client, files: Path) -> None:
    where = written(files, "from scratch as Made", "RUN exit 1")
    found = build(corten, "--check", where).out
    assert "warnings have been found!" in found and "WARNING: " in found and "   2 | >>> from scratch" in found
    (files / "Dockerfile").write_text(f"# check=error=true\nFROM {IMAGE} as made\n")
    assert "FromAsCasing" in build(corten, "--check", where, code=1).out
    (files / "Dockerfile").write_text("FROM\n")
    assert "ERROR" in build(corten, "--check", where, code=1).out
    assert "no warnings found" in build(corten, "--check", written(files)).out


def test_a_cache_in_a_directory(corten: Client, files: Path, tmp_path: Path) -> None:
    """After everything here is gone, its steps are taken from there."""
    where, cache = written(files, "COPY a /a", "RUN cat /proc/uptime > /when"), tmp_path / "cache"
    build(corten, "-t", "made", "--cache-to", f"type=local,dest={cache},mode=max", where)
    index = json.loads((cache / "index.json").read_text())
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in index["manifests"]] == ["latest"]
    corten("rmi", "made")
    corten("builder", "prune", "-af")
    done = build(corten, "--progress", "plain", "--cache-from", f"type=local,src={cache}", where)
    assert "importing cache manifest from local" in done.err and done.err.count("CACHED") >= 2, done.err
    build(corten, "--cache-to", f"type=local,dest={cache},tag=two", where)
    assert len(json.loads((cache / "index.json").read_text())["manifests"]) == 2
    assert "not found" in build(corten, "--cache-from", "type=local,src=/nowhere", where).err
    (cache / "index.json").write_text("[]")
    assert "is no index" in build(corten, "--cache-from", f"type=local,src={cache}", where, code=1).err


@pytest.mark.parametrize("cache", ["type=gha", "type=nope", "type=registry", "type=local"])
def test_caches_that_are_none(corten: Client, files: Path, cache: str) -> None:
    assert "cache" in build(corten, "--cache-to", cache, written(files), code=1).err


# ------------------------------------------------------------------------------------------------------- cache mounts


def tar_of(content: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in content.items():
            (entry := tarfile.TarInfo(name)).size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def test_a_cache_mount_goes_to_another_place_and_comes_back(corten: Client, files: Path, tmp_path: Path) -> None:
    mount = "--mount=type=cache,id=e2e/cache,target=/c,uid=5,mode=0750"
    fill = "cd /c && mkdir d && echo kept > d/f && chown 7:8 d/f && chmod 4751 d/f && ln d/f hard && ln -s d/f soft"
    build(corten, written(files, f"RUN {mount} {fill}"))
    listed = corten("builder", "cache", "ls").out.splitlines()
    assert listed[0].split() == ["ID", "SIZE", "LAST", "USED", "IN", "USE"] and "e2e/cache" in listed[1].split()[0]
    assert corten.out("builder", "cache", "ls", "-q") == "e2e/cache"
    archive = str(tmp_path / "cache.tar")
    corten("builder", "cache", "export", "-o", archive, "e2e/cache")
    assert "cache e2e/cache is there already" in corten("builder", "cache", "import", "e2e/cache", archive, code=1).err
    corten("builder", "cache", "import", "--replace", "e2e/cache", archive)
    corten("builder", "cache", "rm", "e2e/cache")
    assert "no such cache: e2e/cache" in corten("builder", "cache", "rm", "e2e/cache", code=1).err
    assert "no such cache: e2e/cache" in corten("builder", "cache", "export", "e2e/cache", code=1, input="").err
    corten("builder", "cache", "import", "e2e/cache", input=Path(archive).read_bytes())
    look = "stat -c '%n %a %u:%g %h' /c /c/d/f; cat /c/soft"
    done = build(corten, "--no-cache", written(files, f"RUN {mount} {look}"))
    assert [line for line in (" /c 750 5:0 3\n", " /c/d/f 4751 7:8 2\n", " kept\n") if line not in done.err] == []
    assert "cached mount e2e/cache" in corten("builder", "du", "--verbose").out
    corten("builder", "prune", "--all", "--force", "--filter", "type=exec.cachemount")
    assert corten.out("builder", "cache", "ls", "-q") == ""


@pytest.mark.parametrize(
    "body", [b"no tar at all" * 100, b"", tar_of({"../out": b"x"})], ids=["text", "nothing", "above"]
)
def test_a_cache_that_is_no_archive(corten: Client, body: bytes) -> None:
    done = corten("builder", "cache", "import", "e2e/bad", input=body, code=None)
    assert corten.out("builder", "cache", "ls", "-q") == ("" if done.code else "e2e/bad")
    assert bool(done.code) == bool(body)
    corten("builder", "cache", "rm", "e2e/bad", code=None)


# ----------------------------------------------------------------------------------------------------------- bake


def baked(client: Client, where: Path, document: object, *words: str, code: int = 0) -> Done:
    (where / "docker-bake.json").write_text(json.dumps(document))
    done = execute([*client.command, "bake", *words], timeout=100, env=client.env, cwd=where)
    assert done.code == code, done
    return done


def bake_file(files: Path) -> dict[str, dict[str, dict[str, object]]]:
    base = f"FROM {IMAGE}\nARG WHO\nRUN echo $WHO > /who; cat /proc/uptime > /when"
    return {
        "group": {"default": {"targets": ["app", "tool"]}},
        "target": {
            "base": {"context": str(files), "args": {"WHO": "us"}, "dockerfile-inline": base, "tags": ["never"]},
            "app": {
                "context": str(files),
                "contexts": {"below": "target:base"},
                "dockerfile-inline": "FROM below\nCOPY a /a\nCMD cat /who /a",
                "tags": ["app"],
            },
            "tool": {
                "contexts": {"below": "target:base"},
                "dockerfile-inline": "FROM scratch\nCOPY --from=below /when /who /",
                "output": [{"type": "local", "dest": "out"}],
            },
        },
    }


def test_targets_side_by_side_one_in_two_others(corten: Client, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    """What two begin with is built once, gets no name, and does not stay."""
    metadata = tmp_path / "m"
    done = baked(corten, tmp_path, bake_file(files), "--set", "*.args.WHO=them", "--metadata-file", str(metadata))
    assert done.err.count("RUN echo $WHO > /who") <= 2 and "[app 1/2] FROM target:base" in done.err
    assert corten("run", "--rm", "--network", "none", "app").out == "them\na\n"
    assert (tmp_path / "out/who").read_text() == "them\n"
    assert set(json.loads(metadata.read_text())) == {"base", "app", "tool"}
    names = [image["RepoTags"] for image in daemon.get("/images/json")]
    assert sorted(name for each in names for name in each) == ["app:latest", f"{IMAGE}:latest"] and [] not in names


def test_annotations_limits_and_attestations_of_a_target(corten: Client, files: Path, tmp_path: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN ulimit -n; ulimit -Hn\n")
    target = {
        "context": str(files),
        "output": ["type=oci,dest=made.tar"],
        "annotations": ["plain=1", "index,manifest:both=2"],
        "attest": [{"type": "sbom"}],
        "ulimits": ["nofile=1234:2345"],
    }
    done = baked(corten, tmp_path, {"target": {"default": target}})
    assert " 1234\n" in done.err and " 2345\n" in done.err
    with tarfile.open(tmp_path / "made.tar") as tar:
        documents = {name: tar.extractfile(name) for name in tar.getnames() if "blobs/sha256/" in name}
        found = [json.loads(data) for file in documents.values() if file and (data := file.read()).startswith(b"{")]
    (index,) = [each for each in found if "manifests" in each]
    (manifest,) = [each for each in found if "annotations" in each and "layers" in each]
    assert index["annotations"] == {"both": "2"} and manifest["annotations"] == {"plain": "1", "both": "2"}
    assert len(index["manifests"]) == 2  # the second is what was attested


def test_the_first_error_ends_the_others(corten: Client, files: Path, tmp_path: Path) -> None:
    found = bake_file(files)
    found["target"]["app"]["dockerfile-inline"] = f"FROM {IMAGE}\nRUN exec sleep 9875"
    found["target"]["tool"] = {"dockerfile-inline": f"FROM {IMAGE}\nRUN echo why; exit 3", "context": "."}
    done = baked(corten, tmp_path, found, code=1)
    assert "> [tool 2/2] RUN echo why; exit 3:" in done.err and "exit code: 3" in done.err
    until(lambda: subprocess.run(["pgrep", "-f", "^sleep 9875"], capture_output=True).returncode == 1)


def test_what_would_be_baked(corten: Client, files: Path, tmp_path: Path) -> None:
    shown = json.loads(baked(corten, tmp_path, bake_file(files), "--print", "app").out)
    assert shown["group"] == {"default": {"targets": ["app"]}} and set(shown["target"]) == {"base", "app"}
    assert baked(corten, tmp_path, {"variable": {}}, code=1).err.count("HCL") == 1
    assert "failed to find target x" in baked(corten, tmp_path, bake_file(files), "x", code=1).err


# ------------------------------------------------------------------------------------------------------- the shell


class AtTerminal:
    """corten build at a terminal of its own."""

    def __init__(self, client: Client, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execvpe(client.command[0], [*client.command, "build", *words], client.env)
        self.shown = ""

    def until(self, text: str) -> None:
        while text not in self.shown:
            assert select.select([self.fd], [], [], 30)[0], self.shown
            self.shown += os.read(self.fd, 1 << 16).decode()

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> int:
        """Its exit code, when it has ended by itself."""
        try:
            while select.select([self.fd], [], [], 30)[0] and (data := os.read(self.fd, 1 << 16)):
                self.shown += data.decode()
        except OSError:  # EIO: it has ended
            pass
        return self.close()

    def close(self) -> int:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL if not self.ended() else 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def failing(files: Path, *before: str) -> str:
    mounts = "--mount=type=secret,id=s --mount=type=cache,target=/c"
    return written(files, "WORKDIR /work", "ENV A=bee", "USER 7", *before, f"RUN {mounts} echo lost > /tmp/l; exit 3")


def test_a_shell_where_a_step_has_failed(corten: Client, files: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    shell = AtTerminal(corten, "--debug-shell", "--secret", f"id=s,src={tmp_path / 's'}", failing(files))
    try:
        shell.until("/work $ ")
        shell.type("echo =$A=$(id -u)=$(ls /run/secrets)=$(ls /tmp)=\r")
        shell.until("=bee=7=s==")
        fcntl.ioctl(shell.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        shell.type("until stty size | grep 77; do true; done\r")
        shell.until("33 77")
        shell.type("sleep 9873\r")
        until(lambda: subprocess.run(["pgrep", "-f", "^sleep 9873"], capture_output=True).returncode == 0)
        shell.type("\x03")
        shell.until("^C")
        shell.type("exit 5\r")
    finally:
        code = shell.end()
    assert code == 1 and "did not complete successfully: exit code: 3" in shell.shown
    assert "To look around" not in shell.shown


def test_a_terminal_that_goes_ends_the_shell(corten: Client, files: Path) -> None:
    shell = AtTerminal(corten, "--debug-shell", failing(files))
    shell.until("/work $ ")
    shell.type("exec sleep 9874\r")
    until(lambda: subprocess.run(["pgrep", "-f", "^sleep 9874"], capture_output=True).returncode == 0)
    shell.close()
    until(lambda: subprocess.run(["pgrep", "-f", "^sleep 9874"], capture_output=True).returncode == 1)


def test_without_a_terminal(corten: Client, files: Path) -> None:
    assert "--debug-shell needs a terminal" in build(corten, "--debug-shell", failing(files), code=1).err
    assert "To look around in the state before this step" in build(corten, failing(files), code=1).err


# -------------------------------------------------------------------------------------------- clients that go away


def until(condition: object) -> None:
    deadline = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def contexts(daemon: Cortend) -> list[Path]:
    """Trees of clients that are only half there: the next build would not take them."""
    return list((daemon.data / "build/trees").glob("*/*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_while_its_files_come(corten: Client, daemon: Cortend, files: Path, how: signal.Signals) -> None:
    """They are many and large; the tree that they were to be is gone."""
    with (files / "large").open("wb") as file:
        file.truncate(20 << 30)
    before = contexts(daemon)
    process = corten.popen("build", "--progress", "plain", written(files, "COPY . /files"))
    until(
        lambda: any(path.is_file() for tree in contexts(daemon) if tree not in before for path in tree.rglob("large"))
    )
    process.send_signal(how)
    process.communicate(timeout=20)
    until(lambda: contexts(daemon) == before)


def test_while_its_tar_comes(corten: Client, daemon: Cortend) -> None:
    process = corten.popen("build", "-")
    assert process.stdin is not None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("f")
        entry.size = 1 << 20
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    process.stdin.write(packed.getvalue()[: 1 << 19])
    process.stdin.flush()
    until(lambda: list((daemon.data / "build/contexts").glob("*/files/f")))
    process.kill()
    process.communicate(timeout=20)
    until(lambda: not list((daemon.data / "build/contexts").iterdir()))


def test_while_it_takes_the_output(corten: Client, files: Path) -> None:
    (files / "large").write_bytes(os.urandom(8 << 20))
    process = corten.popen("build", "-o", "-", written(files, "FROM scratch", "COPY . /"))
    assert process.stdout is not None
    assert process.stdout.read(1000)
    process.kill()
    process.communicate(timeout=20)


def test_services_of_a_compose_file_again_when_a_file_has_changed(corten: Client, files: Path, tmp_path: Path) -> None:
    """The second build lays what has changed over the first one's tree; what is checked is checked of both."""
    (files / "gone").write_text("gone")
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nWORKDIR /src\nCOPY . .\nCMD cat a; ls\n")
    build = {"context": str(files), "args": {"UNUSED": None}, "x-bake": {"tags": ["app", "app:${WHO:-them}"]}}
    document = {"services": {"app": {"image": "never", "build": build}, "database": {"image": "none"}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(document))  # which is YAML

    def bake() -> None:
        done = execute([*corten.command, "bake", "-f", "compose.yaml"], env=corten.env, cwd=tmp_path)
        assert done.code == 0, done

    bake()
    first = corten("run", "--rm", "--network", "none", "app:them").out.split()
    assert first[0] == "a" and "gone" in first

    (files / "gone").unlink()
    (files / "a").write_text("changed\n")
    bake()
    assert corten("run", "--rm", "--network", "none", "app").out.split() == [
        "changed", *(name for name in first[1:] if name != "gone"),
    ]  # fmt: skip
    assert "nothing is wrong" in corten("system", "check", "--deep").out
    corten("rmi", "-f", "app", "app:them")
    corten("builder", "prune", "-af")
    assert "nothing is wrong" in corten("system", "check").out
