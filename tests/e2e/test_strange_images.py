"""Images whose configuration is odd or wrong, by the real client: refused with one error, or answered as any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from image_parts.strange_configs import MEMBERS, archive, document

DOCKERD = json.loads((Path(__file__).parents[1] / "unit/spec/dockerd_configs.json").read_text())
TAKEN = ("surrogate-label", "surrogate-env", "surrogate-history", "raw-bad-utf8", "labels-null-value", "labels-case",
         "cmd-string", "config-null", "unknown-digits", "created-null", "history-more-empty")  # fmt: skip
REFUSED = ("labels-list", "labels-number", "labels-nested", "cmd-number", "env-object", "history-created-by-list",
           "docker-version-number", "stoptimeout-1e999", "config-list", "history-too-many")  # fmt: skip


def load(client: Client, name: str, root: Path) -> str:
    """What `docker load` complains of; "" when the image is there."""
    path = root / "image.tar"
    path.write_bytes(archive(document(MEMBERS[name]), f"odd/{name}:1"))
    done = client("load", "-q", "-i", str(path), code=None)
    return done.err if done.code else ""


def test_every_answer_about_images(docker: Client, tmp_path: Path) -> None:
    for name in REFUSED:
        assert DOCKERD[name]["error"] in load(docker, name, tmp_path)
    for name in TAKEN:
        assert load(docker, name, tmp_path) == ""
    listed = docker.out("images", "--format", "{{.Repository}}").split()
    assert {name for name in listed if name.startswith("odd/")} == {f"odd/{name}" for name in TAKEN}
    for words in (("system", "df", "-v"), ("images", "--digests"), ("images", "-f", "reference=odd/*")):
        assert "odd/" in docker.out(*words)
    assert docker.out("images", "-q", "-f", "label=a=\ufffd") == docker.out("images", "-q", "odd/surrogate-label")
    for name in TAKEN:
        assert docker.out("inspect", "-f", "{{.Os}} {{len .RootFS.Layers}}", f"odd/{name}:1") == "linux 1"
        docker("history", "--no-trunc", f"odd/{name}:1")
    assert docker.out("inspect", "-f", "{{index .Config.Env 0}}", "odd/surrogate-env:1") == "A=\ufffd"
    assert docker.out("create", "--name", "odd", "odd/surrogate-env:1", "true")
    assert "A=\ufffd" in docker.out("inspect", "-f", "{{.Config.Env}}", "odd")
    docker("rm", "odd")
    docker("image", "prune", "-af", "--filter", "label=a", "--filter", "label!=nosuch")
    left = docker.out("images", "-f", "reference=odd/*", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert not {"odd/surrogate-label:1", "odd/labels-case:1"} & set(left)
    docker("rmi", *left)


def test_what_is_saved_is_what_was_loaded(docker: Client, tmp_path: Path) -> None:
    """The blob keeps its bytes, whatever is read from it: the image has the id that its maker gave it."""
    assert load(docker, "surrogate-label", tmp_path) == ""
    id = docker.out("images", "-q", "--no-trunc", "odd/surrogate-label")
    docker("save", "-o", str(tmp_path / "saved.tar"), "odd/surrogate-label:1")
    docker("rmi", "odd/surrogate-label:1")
    docker("load", "-q", "-i", str(tmp_path / "saved.tar"))
    assert docker.out("images", "-q", "--no-trunc", "odd/surrogate-label") == id
    docker("rmi", "odd/surrogate-label:1")


@pytest.mark.parametrize("change", ['CMD ["\\ud800"]', "LABEL a=\ufffd", 'ENTRYPOINT ["\\udfff", "x"]'])
def test_changes_of_a_commit(docker: Client, change: str) -> None:
    docker("create", "--name", "odd", "corten/busybox", "true")
    docker("commit", "-c", change, "odd", "odd/committed")
    assert "\ufffd" in docker.out("inspect", "-f", "{{json .Config}}", "odd/committed")
    docker("rmi", "odd/committed")
    docker("rm", "odd")
