"""Caches of builds that go to another daemon: in a registry, in a directory, in an image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.builders import Builder, builder, remove_builds
from e2e_parts.cortend import IMAGE, Cortend, short_root

FILES = f"""FROM {IMAGE} AS one
COPY a /a
RUN mkdir /out && cat /a > /out/a && date > /out/made
WORKDIR /nothing
FROM {IMAGE}
RUN echo base > /base && date > /made
COPY --from=one /out /out
RUN true
CMD ["cat", "/made"]
"""
STEPS = 6


@pytest.fixture(scope="module")
def other() -> Iterator[Cortend]:
    """Another machine."""
    with short_root() as root, Cortend(root) as running:
        running.start()
        running.warm_up()
        yield running


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, other: Cortend) -> Iterator[None]:
    yield
    remove_builds(daemon, other)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(FILES)
    (root / "a").write_text("a\n")
    return root


@pytest.fixture
def here(daemon: Cortend, tmp_path: Path) -> Builder:
    return builder("buildx", daemon, tmp_path)


@pytest.fixture
def there(other: Cortend, tmp_path: Path) -> Builder:
    return builder("buildx", other, tmp_path)


def cached(text: str) -> int:
    """How many steps were found."""
    numbers = re.findall(r"^#(\d+) \[[^\]]+\] (?:COPY|RUN|WORKDIR) ", text, re.M)
    return sum(f"#{number} CACHED\n" in text for number in set(numbers))


def id_of(daemon: Cortend, name: str) -> str:
    id: str = daemon.get(f"/images/{name}/json")["Id"]
    return id


@pytest.mark.parametrize("options", ["", ",compression=zstd,force-compression=true", ",image-manifest=false"])
def test_all_of_it_in_a_registry(
    here: Builder, there: Builder, daemon: Cortend, other: Cortend, files: Path, debians: str, options: str
) -> None:
    ref = f"{debians}/cache:1"
    here("-t", "made", "--cache-to", f"type=registry,ref={ref},mode=max{options}", str(files))
    again = there("-t", "made", "--cache-from", f"type=registry,ref={ref}", str(files))
    assert cached(again.err) == STEPS, again.err
    assert id_of(daemon, "made") == id_of(other, "made")
    without = there("-t", "made", str(files))  # what was taken is not this daemon's own cache
    assert cached(without.err) < STEPS


def test_a_directory(here: Builder, there: Builder, files: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    here("-t", "made", "--cache-to", f"type=local,dest={cache},mode=max", str(files))
    assert json.loads((cache / "index.json").read_text())["manifests"]
    again = there("-t", "made", "--cache-from", f"type=local,src={cache}", str(files))
    assert cached(again.err) == STEPS, again.err


def test_what_the_result_has_alone(here: Builder, there: Builder, files: Path, debians: str) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY a /a\nRUN date > /made\nWORKDIR /x\n")
    ref = f"{debians}/cache:min"
    here("-t", "made", "--cache-to", f"type=registry,ref={ref}", str(files))
    again = there("-t", "made", "--cache-from", ref, str(files))
    assert cached(again.err) == 3, again.err


@pytest.mark.parametrize("cache", ["registry", "inline"])
def test_stages_that_the_result_was_copied_from_are_not_done_again(
    here: Builder, there: Builder, daemon: Cortend, other: Cortend, files: Path, debians: str, cache: str
) -> None:
    name = f"{debians}/{cache}:stages"
    if cache == "inline":
        here("-o", f"type=image,name={name},push=true", "--cache-to", "type=inline", str(files))
    else:
        here("-t", name, "--cache-to", f"type=registry,ref={name}", str(files))
    again = there("-t", "made", "--cache-from", name, str(files))
    assert cached(again.err) == STEPS, again.err
    layers = daemon.get(f"/images/{name}/json")["RootFS"]["Layers"]
    assert layers == other.get("/images/made/json")["RootFS"]["Layers"]
    (files / "a").write_text("changed\n")
    changed = there("-t", "made", "--cache-from", name, str(files))
    assert cached(changed.err) == 1  # the RUN above the base
    third = there("-t", "made", "--no-cache", "--cache-from", name, str(files))
    assert cached(third.err) == 0


def test_an_image_with_its_own_cache(
    here: Builder, there: Builder, daemon: Cortend, other: Cortend, files: Path, debians: str
) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY a /a\nRUN date > /made\nWORKDIR /x\nENV a=b\n")
    name = f"{debians}/image:1"
    here("-o", f"type=image,name={name},push=true", "--cache-to", "type=inline", str(files))
    again = there("-t", "made", "--cache-from", name, str(files))
    assert cached(again.err) == 3, again.err
    layers = daemon.get(f"/images/{name}/json")["RootFS"]["Layers"]
    assert layers == other.get("/images/made/json")["RootFS"]["Layers"]


@pytest.mark.parametrize("pulled", [False, True])
def test_docker_of_old(
    daemon: Cortend, other: Cortend, files: Path, tmp_path: Path, debians: str, pulled: bool
) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY a /a\nRUN date > /made\n")
    name = f"{debians}/old:1"
    first, second = (builder("docker 20.10", each, tmp_path) for each in (daemon, other))
    first("-t", name, "--build-arg", "BUILDKIT_INLINE_CACHE=1", str(files))
    status, answer = daemon.ask("POST", f"/images/{name.rpartition(':')[0]}/push?tag=1")
    assert status == 200 and "errorDetail" not in str(answer)
    if pulled:
        status, answer = other.ask("POST", f"/images/create?fromImage={name.rpartition(':')[0]}&tag=1")
        assert status == 200 and "errorDetail" not in str(answer)
    again = second("-t", "made", "--cache-from", name, str(files))
    assert cached(again.err) == 2, again.err


def test_caches_that_are_none(here: Builder, files: Path, debians: str) -> None:
    done = here("-t", "made", "--cache-from", f"{debians}/nothing:1", str(files))
    assert "importing cache manifest" in done.err and "ERROR" in done.err
    refused = here("--cache-to", "type=azblob,name=x", str(files), code=1)
    assert "cache type=azblob is not supported" in refused.err
    wrong = here("--cache-to", f"type=registry,ref={debians}/x:1,mode=some", str(files), code=1)
    assert "invalid mode of a cache" in wrong.err


def test_clients_directories_are_counted_and_pruned(here: Builder, daemon: Cortend, files: Path) -> None:
    (files / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY . /a\n")
    (files / "large").write_bytes(bytes(3_000_000))
    here("-t", "made", str(files))
    rows = [row for row in daemon.get("/system/df")["BuildCache"] if row["Type"] == "source.local"]
    assert any(row["Size"] >= 3_000_000 and not row["InUse"] for row in rows)
    status, answer = daemon.ask("POST", '/build/prune?filters={"type":["source.local"]}')
    assert status == 200 and answer["SpaceReclaimed"] >= 3_000_000
    assert not [row for row in daemon.get("/system/df")["BuildCache"] if row["Type"] == "source.local"]
    assert "CACHED" in here("-t", "made", str(files)).err
