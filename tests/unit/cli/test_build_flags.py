"""What `corten build` makes of --annotation and --allow."""

from __future__ import annotations

import pytest

from corten.cli.building import _allowed
from corten.cli.buildoutputs import annotated, outputs
from corten.cli.errors import CommandError, UsageError


def attributes(texts: list[str], *given: str, tags: tuple[str, ...] = ()) -> list[dict[str, str]]:
    return [each.attributes for each in annotated(outputs(given, False, False, tags), texts, tags)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"annotation.a": "1"}),
        ("a=", {"annotation.a": ""}),
        ("manifest:a=b=c", {"annotation-manifest.a": "b=c"}),
        ("index,manifest[linux/arm64]:a=1", {"annotation-index.a": "1", "annotation-manifest[linux/arm64].a": "1"}),
        ("index-descriptor:a:b=1", {"annotation-index-descriptor.a:b": "1"}),
        ("org.x:a=1", {"annotation.org.x:a": "1"}),
    ],
)
def test_levels_of_annotations(text: str, expected: dict[str, str]) -> None:
    assert attributes([text], "type=oci,dest=x.tar") == [expected]


def test_annotations_are_for_all_images() -> None:
    assert attributes(["a=1"], tags=("t",)) == [{"name": "t", "annotation.a": "1"}]
    assert attributes(["a=1"]) == [{"annotation.a": "1"}]
    both = attributes(["a=1", "b=2"], "type=image", "type=local,dest=d", tags=("t",))
    assert both == [{"name": "t", "annotation.a": "1", "annotation.b": "2"}, {}]


def test_annotations_that_are_none() -> None:
    with pytest.raises(CommandError, match="expected KEY=VALUE"):
        attributes(["a"])
    with pytest.raises(CommandError, match="the output type=local is none"):
        attributes(["a=1"], "type=local,dest=d")


def test_what_is_allowed() -> None:
    assert _allowed(["device", "network.host", "device=vendor.com/class=one"]) == ["*", "vendor.com/class=one"]
    for text in ("security.insecure", "network.host=1", "devices", ""):
        with pytest.raises(UsageError, match="want device, device=NAME or network"):
            _allowed([text])
