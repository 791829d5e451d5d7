"""Compose files as bake files: what of a service is in its target, and what goes over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corten.cli import bakefiles, baketargets
from corten.cli.baketargets import Chosen
from corten.cli.errors import CommandError

SERVICES = """
services:
  web.front:
    image: example/web:1
    build:
      context: web
      args: {A: "${VALUE:-1}$$x", B: null}
      labels: {one: "1"}
      target: last
      additional_contexts: {base: "service:base"}
  base:
    build: {context: base, dockerfile: other, tags: [example/base:2]}
    profiles: [never]
  database:
    image: example/database
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VALUE", "A", "B", "COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def choose(*paths: str, words: tuple[str, ...] = ("default",), changes: tuple[str, ...] = ()) -> Chosen:
    return baketargets.choose(bakefiles.read(paths), words, changes)


def test_services_that_are_built_are_targets(here: Path) -> None:
    Path("compose.yaml").write_text(SERVICES)
    found = choose()
    assert found.asked == ["web_front", "base"]
    assert list(found.targets) == ["base", "web_front"]  # what another begins with goes before it
    assert found.targets["web_front"] == {
        "context": str(here / "web"), "dockerfile": "Dockerfile", "args": {"A": "1$x"}, "labels": {"one": "1"},
        "contexts": {"base": "target:base"}, "target": "last", "tags": ["example/web:1"],
    }  # fmt: skip
    base = {"context": str(here / "base"), "dockerfile": "other", "tags": ["example/base:2"]}
    assert found.targets["base"] == base


def test_values_of_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("compose.yml").write_text(SERVICES)
    Path(".env").write_text("VALUE=file\n")
    monkeypatch.setenv("B", "own")
    assert choose().targets["web_front"]["args"] == {"A": "file$x", "B": "own"}
    monkeypatch.setenv("VALUE", "own")
    assert choose().targets["web_front"]["args"] == {"A": "own$x", "B": "own"}


def test_a_later_file_and_a_bake_file_go_over_it() -> None:
    Path("compose.yaml").write_text(SERVICES)
    Path("more.yml").write_text("services: {base: {build: {args: {C: '3'}}}}")
    group = {"default": {"targets": ["base"]}}
    Path("docker-bake.json").write_text(json.dumps({"group": group, "target": {"base": {"tags": ["over"]}}}))
    assert choose("compose.yaml", "more.yml").targets["base"]["args"] == {"C": "3"}
    for paths in ((), ("docker-bake.json", "compose.yaml")):  # Compose's come first, wherever they are named
        found = choose(*paths)
        assert found.asked == ["base"] and found.targets["base"]["tags"] == ["over"]
    assert choose("compose.yaml", changes=("web_front.args.A=2",)).targets["web_front"]["args"] == {"A": "2"}


def test_what_compose_has_no_words_for() -> None:
    Path("compose.yaml").write_text("""
services:
  a:
    image: own
    build:
      context: .
      cache_from: [one]
      x-bake:
        tags: [x, y]
        cache-from: two
        outputs: [type=registry]
        platforms: [linux/arm64]
        no-cache: true
        contexts: {c: ../c}
""")
    assert choose().targets["a"] == {
        "context": str(Path.cwd()), "dockerfile": "Dockerfile", "tags": ["x", "y"], "cache-from": ["one", "two"],
        "output": ["type=registry"], "platforms": ["linux/arm64"], "no-cache": True, "contexts": {"c": "../c"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: [", "compose.yaml"),
        ("services: {a: {build: {context: ., x-bake: {tags: 1}}}}", "x-bake.tags is not a list of strings"),
        ("services: {a: {build: {context: ., x-bake: {args: {}}}}}", "unknown attribute args"),
        ("services: {a: {build: {context: ., x-bake: 1}}}", "x-bake is no object"),
        ("services: {a: {image: b}}", "failed to find target c"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    Path("compose.yaml").write_text(text)
    with pytest.raises(CommandError, match=message):
        choose(words=("c",))
