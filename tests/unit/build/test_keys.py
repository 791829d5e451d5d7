"""What the key of a step depends on, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corten.build.contract import (
    Bind,
    CacheMount,
    CopyStep,
    Layer,
    Limits,
    Matched,
    RunStep,
    SourceTree,
    StageTree,
)
from corten.build.plan import keys
from corten.spec.dockerfile.mounts import SecretMount
from corten.spec.oci_image import Descriptor

RUN = RunStep(("sh", "-c", "x"), ("A=1",), mounts=(Bind("/b", StageTree("t")), SecretMount("i", "/run/secrets/i")))
COPY = CopyStep((Matched(StageTree("t"), ("a",)),), "/t")


@pytest.mark.parametrize(
    "change",
    [
        {"args": ("sh", "-c", "y")},
        {"env": ("A=2",)},
        {"cwd": "/x"},
        {"user": "u"},
        {"network": "none"},
        {"insecure": True},
        {"files": {"/f": b"x"}},
        {"mounts": (Bind("/c", StageTree("t")), SecretMount("i", "/run/secrets/i"))},
        {"mounts": (Bind("/b", StageTree("t")), SecretMount("j", "/run/secrets/i"))},
        {"mounts": (CacheMount("/b", "id"), SecretMount("i", "/run/secrets/i"))},
    ],
)
def test_a_run_is_another(change: dict[str, Any]) -> None:
    assert keys.run("p", replace(RUN, **change), ["s", ""]) != keys.run("p", RUN, ["s", ""])


@pytest.mark.parametrize(
    "change",
    [
        {"limits": Limits(memory=1)},
        {"hosts": ("h:1",)},
        {"hostname": "other"},
        {"mounts": (Bind("/b", StageTree("other")), RUN.mounts[1])},  # its content is in its checksum
    ],
)
def test_a_run_is_the_same(change: dict[str, Any]) -> None:
    assert keys.run("p", replace(RUN, **change), ["s", ""]) == keys.run("p", RUN, ["s", ""])


def test_parents_and_checksums() -> None:
    assert len({keys.run(parent, RUN, [sum, ""]) for parent in "pq" for sum in "st"}) == 4
    assert len({keys.copy(parent, COPY, [sum]) for parent in "pq" for sum in "st"}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"target": "/t/"},
        {"owner": "1"},
        {"mode": "700"},
        {"exclude": ("a",)},
        {"parents": True},
        {"link": True},
        {"unpack": True},
        {"times": 1},
    ],
)
def test_a_copy_is_another(change: dict[str, Any]) -> None:
    assert keys.copy("p", replace(COPY, **change), ["s"]) != keys.copy("p", COPY, ["s"])


def test_trees_of_equal_content_are_one() -> None:
    blob = Descriptor("m", "sha256:b", 1)
    made = [Layer(f"diff {day}", f"tree {day}", "content", 1, blob) for day in (1, 2)]
    assert keys.identity("p", made[0]) == keys.identity("p", made[1]) != keys.identity("q", made[0])
    assert keys.identity("p", replace(made[0], content="other")) != keys.identity("p", made[0])
    assert keys.identity("p", Layer("", "", "none", 0, None)) == "p"


def test_only_a_stage_never_changes(tmp_path: Any) -> None:
    assert keys.source(COPY.sources[0], (), False) is not None
    assert keys.source(Matched(SourceTree("c", tmp_path), ("a",)), (), False) is None
    assert keys.source(COPY.sources[0], ("x",), False) != keys.source(COPY.sources[0], (), False)


def test_names_that_are_no_text() -> None:
    assert keys.run("p", replace(RUN, args=("\udcff",)), ["", ""]) != keys.run(
        "p", replace(RUN, args=("\udcfe",)), ["", ""]
    )
