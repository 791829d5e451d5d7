"""Files of git repositories: -f, include, extends; cloned once into the user's cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compose_parts.world import World
from corten.cli.compose import remote
from corten.compose.errors import ComposeError
from corten.compose.model import Project
from git_servers import Repository, git_daemon


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Repository, str]]:
    root = tmp_path_factory.mktemp("git")
    repository = Repository(root / "stack.git")
    with git_daemon(root) as url:
        yield repository, f"{url}/stack.git"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def load(world: World, environ: dict[str, str], text: str = "", **options: object) -> Project:
    return world.load(text, environ, fetch=lambda place: remote.fetch(place, environ), **options)


def test_a_file_of_a_repository(served: tuple[Repository, str], world: World, environ: dict[str, str]) -> None:
    repository, url = served
    commit = repository.commit({"compose.yaml": "services: {a: {image: x, build: ./web}}"})
    clone = Path(environ["XDG_CACHE_HOME"]) / "corten" / "compose" / commit
    for place in (url, f"{url}#master", f"{url}#{commit}", f"{url}#master:compose.yaml"):
        project = load(world, environ, files=(place,))
        assert project.files == (str(clone / "compose.yaml"),)
        assert project.working_dir == str(clone)
        build = project.services["a"].build
        assert build is not None and build.context == str(clone / "web")
    assert [path.name for path in clone.parent.iterdir()] == [commit]


def test_include_and_extends(served: tuple[Repository, str], world: World, environ: dict[str, str]) -> None:
    repository, url = served
    commit = repository.commit(
        {
            "db/compose.yaml": "services: {db: {image: db, volumes: ['./d:/d']}}",
            "base.yml": "services: {b: {image: y, build: .}}",
        }
    )
    text = f"include: ['{url}#master:db']\nservices: {{a: {{extends: {{file: '{url}#master:base.yml', service: b}}}}}}"
    project = load(world, environ, text)
    clone = Path(environ["XDG_CACHE_HOME"]) / "corten" / "compose" / commit
    assert project.services["db"].volumes[0].source == str(clone / "db" / "d")
    build = project.services["a"].build
    assert build is not None and build.context == str(clone)


def test_tags_and_branches(served: tuple[Repository, str], world: World, environ: dict[str, str]) -> None:
    repository, url = served
    first = repository.commit({"compose.yaml": "services: {a: {image: first}}"})
    repository.git("tag", "-a", "v1", "-m", "one")
    repository.commit({"compose.yaml": "services: {a: {image: second}}"})
    project = load(world, environ, files=(f"{url}#v1",))
    assert project.services["a"].image == "first"
    assert project.files[0].split("/")[-2] == first
    assert load(world, environ, files=(url,)).services["a"].image == "second"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("#nope", "repository does not contain ref nope"),
        ("#master:nowhere.yaml", "no Compose file there: name one: "),
        ("#master:link.yaml", "no Compose file there: name one: "),
        ("#--upload-pack=x", "--upload-pack=x"),
        ("#master:../../x", "x"),
    ],
)
def test_what_is_refused(
    served: tuple[Repository, str], world: World, environ: dict[str, str], place: str, message: str
) -> None:
    repository, url = served
    (repository.path / "link.yaml").unlink(missing_ok=True)
    (repository.path / "link.yaml").symlink_to("/etc/hostname")
    repository.commit({})
    world.write(f"services: {{}}\ninclude:\n  - '{url}{place}'\n")
    with pytest.raises(ComposeError) as caught:
        load(world, environ)
    assert message in str(caught.value)
    assert str(caught.value.position) == f"{world.directory}/compose.yaml:3"


def test_no_server_no_rest(world: World, environ: dict[str, str]) -> None:
    with pytest.raises(ComposeError) as caught:
        load(world, environ, files=("git://127.0.0.1:1/stack.git#0123456789012345678901234567890123456789",))
    assert "git fetch failed" in str(caught.value)
    assert list((Path(environ["XDG_CACHE_HOME"]) / "corten" / "compose").iterdir()) == []


def test_other_places(world: World, environ: dict[str, str]) -> None:
    with pytest.raises(ComposeError, match="git remote resource is disabled"):
        load(world, {**environ, "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "0"}, files=("https://host/stack.git",))
    with pytest.raises(ComposeError) as caught:
        world.load(files=("oci://registry/stack",))
    assert str(caught.value) == "oci://registry/stack: remote files are not fetched here: copy it to this machine"
