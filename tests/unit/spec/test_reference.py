import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.spec.reference import parse

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/user/app", "docker.io/user/app", "user/app"),
        ("user/app:v1", "docker.io/user/app:v1", "user/app:v1"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("Upper/app", "Upper/app", "Upper/app"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e", "a__b/c-d.e"),
        (f"busybox@sha256:{HEX}", f"docker.io/library/busybox@sha256:{HEX}", f"busybox@sha256:{HEX}"),
        (f"r.io/a:1@sha256:{HEX}", f"r.io/a:1@sha256:{HEX}", f"r.io/a:1@sha256:{HEX}"),
    ],
)
def test_names(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert str(reference) == canonical
    assert reference.familiar == familiar
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    ["", "Busybox", "a//b", "/a", "a/", "a:", "a:b:c", "a@sha256:abc", f"a@md5:{HEX}", HEX, "../x", "a/../b", "a b",
     "-a/b",
     "a.b-/c", "r.io/" + "a" * 256, "a:" + "t" * 129, "a\n", "a:t\n", "r.io:port/a", "a\0"],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@given(st.text(max_size=60))
def test_never_anything_but_a_reference_or_invalid(text: str) -> None:
    try:
        reference = parse(text)
    except Invalid:
        return
    assert parse(reference.familiar) == reference
    assert ".." not in reference.path


def test_default_tag() -> None:
    assert parse("a").tagged.tag == "latest"
    assert parse(f"a@sha256:{HEX}").tagged.tag == ""
