"""`corten/registry`: our registry in a container of our own engine, by one line."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from free_ports import free_port
from registry_parts.own import SECRET

pytestmark = pytest.mark.usefixtures("no_images_left")


def until_healthy(host: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}/healthz", timeout=5) as answer:
                assert json.load(answer) == {"status": "ok"}
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_one_line(docker: Client, tmp_path: Path) -> None:
    host = f"127.0.0.1:{free_port()}"
    run = ["run", "-d", "-p", f"{host}:5000", "--name", "registry", "-v", "kept:/var/lib/registry"]
    docker(*run, "corten/registry", timeout=120)
    until_healthy(host)
    docker("tag", IMAGE, f"{host}/a/b:1")
    docker("push", f"{host}/a/b:1")
    docker("exec", "registry", "/usr/bin/env", "true", code=127)  # there is nothing but the registry
    collect = ["python3", "-m", "corten.registry.server", "gc", "--root", ".", "--grace", "0", "--keep-last", "**:*:0"]
    done = docker("exec", "registry", *collect, "--dry-run")
    # Two when an earlier test has left the image here with the index that it came in.
    assert "tag a/b:1" in done.out and re.search("would remove 1 tags, [12] manifests", done.err)
    docker("stop", "registry")
    assert docker.out("inspect", "-f", "{{.State.ExitCode}}", "registry") == "0"
    docker("rm", "registry")
    (tmp_path / "users").write_text(f"ann:{SECRET}\n")
    docker(*run, "-v", f"{tmp_path}/users:/users:ro", "corten/registry", "--htpasswd", "/users", timeout=60)
    until_healthy(host)
    docker("rmi", f"{host}/a/b:1")
    assert docker("pull", f"{host}/a/b:1", code=1).err
    docker("login", "-u", "ann", "--password-stdin", host, input="secret")
    docker("pull", f"{host}/a/b:1")
    docker("logout", host)
