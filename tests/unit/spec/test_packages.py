"""Databases of package managers: what is read of them, and what hostile ones come to."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.spec import purl
from corten.spec.packages import apk, dpkg, npm, python, rpm
from corten.spec.packages.package import Distribution, Package, clean, distribution

_STATUS = """\
Package: base-files
Status: install ok installed
Maintainer: Santiago Vila <sanvila@debian.org>
Architecture: amd64
Version: 12.4+deb12u5
Description: Debian base system miscellaneous files
 Version: not this one

Package: gone
Status: deinstall ok config-files
Version: 1

Package: libc6
Source: glibc (2.36-9)
Status: install ok half-configured
Version: 2.36-9
Architecture: amd64
"""


def test_dpkg() -> None:
    first, second = dpkg.status(_STATUS, "status")
    assert first[:4] == ("deb", "base-files", "12.4+deb12u5", "amd64")
    assert first.supplier == "Santiago Vila <sanvila@debian.org>" and first.place == "status"
    assert (second.name, second.source) == ("libc6", "glibc")


def test_a_file_of_status_d_has_no_state() -> None:
    (found,) = dpkg.status("Package: tzdata\nVersion: 2024a-0\nArchitecture: all\n", "x")
    assert (found.name, found.version, found.architecture) == ("tzdata", "2024a-0", "all")


def test_copyright() -> None:
    head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
    text = head + "Files: *\nLicense: Expat\n text\n\nFiles: b\nLicense: GPL-2+ or Artistic\n\nLicense: Expat\n text\n"
    assert dpkg.licenses(text) == "Expat and (GPL-2+ or Artistic)"
    assert dpkg.licenses("This is prose.\n\nLicense: GPL\n") == ""
    assert dpkg.licenses("") == ""


def test_apk() -> None:
    text = (
        "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nS:383\nL:MIT\no:musl\nm:Timo <t@x.org>\np:so:libc.musl=1\n"
        "F:lib\nR:ld-musl.so.1\na:0:0:755\nZ:Q1x=\n\nP:half\nA:x86_64\n\nP:busybox\nV:1.36.1-r2\nA:x86_64\nL:GPL-2.0-only\n\n"
    )
    musl, busybox = apk.installed(text, "db")
    assert musl == Package("apk", "musl", "1.2.4-r2", "x86_64", "MIT", "Timo <t@x.org>", "musl", "", "db")
    assert busybox.license == "GPL-2.0-only"


@pytest.mark.parametrize(
    ("text", "license"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: no", "MIT OR Apache-2.0"),
        ("License: BSD", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        (f"License: {'long ' * 100}", ""),
        (
            "Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: A B\n"
            "Classifier: License :: OSI Approved :: C",
            "(A B) and (C)",
        ),
    ],
)
def test_python(text: str, license: str) -> None:
    found = python.metadata(f"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0\n{text}\n\nName: body\n", "x")
    assert found is not None and (found.name, found.version, found.license) == ("Foo_Bar", "1.0", license)


def test_python_without_a_name() -> None:
    assert python.metadata("Version: 1\n", "") is None
    assert python.metadata("", "") is None


@pytest.mark.parametrize(
    ("manifest", "license"),
    [
        ({"license": "MIT"}, "MIT"),
        ({"license": {"type": "ISC", "url": "x"}}, "ISC"),
        ({"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}, 7]}, "MIT or GPL-2.0"),
        ({"license": 5}, ""),
        ({}, ""),
    ],
)
def test_npm(manifest: dict[str, object], license: str) -> None:
    body = json.dumps({"name": "@a/b", "version": "1.0.0", "author": {"name": "N"}, **manifest})
    found = npm.manifest(b"\xef\xbb\xbf" + body.encode(), "x")
    assert found is not None and (found.name, found.version, found.license, found.supplier) == (
        "@a/b", "1.0.0", license, "N",
    )  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"name": "x"}', b'{"name": 1, "version": 2}', b"[" * 100_000])
def test_npm_that_is_none(data: bytes) -> None:
    assert npm.manifest(data, "") is None


def test_texts_are_made_printable() -> None:
    found = npm.manifest(b'{"name": "a\\ud800b\\u0000\\n c", "version": "' + b"9" * 5000 + b'"}', "")
    assert found is not None and found.name == "a?b c" and len(found.version) == 512
    assert clean(b"x") == clean(None) == ""


# --------------------------------------------------------------------------------------------------------------- rpm


def header(values: dict[int, str | int]) -> bytes:
    """An rpm header as its database has it."""
    entries, data = b"", b""
    for tag, value in values.items():
        if isinstance(value, int):
            data += b"\0" * (-len(data) % 4)
        entries += struct.pack(">iiiI", tag, 4 if isinstance(value, int) else 6, len(data), 1)
        data += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(values), len(data)) + entries + data


def test_rpm() -> None:
    found = rpm.header(
        header({1000: "bash", 1001: "5.2", 1002: "1.fc40", 1003: 2, 1014: "GPL-3.0-or-later", 1022: "x86_64"}), "db"
    )
    assert found == Package("rpm", "bash", "5.2-1.fc40", "x86_64", "GPL-3.0-or-later", "", "", "2", "db")
    assert rpm.header(header({1000: "gpg-pubkey", 1001: "abc", 1002: "1"}), "") is None
    assert rpm.header(header({1014: "MIT"}), "") is None


@given(st.binary(max_size=200))
def test_a_header_of_any_bytes(data: bytes) -> None:
    try:
        rpm.header(data, "")
    except ValueError:
        pass
    whole = header({1000: "a", 1001: "1"})
    try:
        rpm.header(whole[:8] + data + whole[8 + len(data) :], "")
    except ValueError:
        pass


# -------------------------------------------------------------------------------------------------------------- purl


def test_purls() -> None:
    debian = Distribution("debian", "12")
    deb = Package("deb", "g++", "4:12.2-3", "amd64", source="gcc-defaults")
    assert purl.of_package(deb, debian) == (
        "pkg:deb/debian/g%2B%2B@4%3A12.2-3?arch=amd64&distro=debian-12&upstream=gcc-defaults"
    )
    rpm_ = Package("rpm", "bash", "5.2-1.fc40", "x86_64", epoch="2")
    assert purl.of_package(rpm_, Distribution("fedora", "40")) == (
        "pkg:rpm/fedora/bash@5.2-1.fc40?arch=x86_64&distro=fedora-40&epoch=2"
    )
    assert purl.of_package(Package("apk", "musl", "1", source="musl"), Distribution()) == "pkg:apk/alpine/musl@1"
    assert purl.of_package(Package("npm", "@babel/core", "7.0.0"), debian) == "pkg:npm/%40babel/core@7.0.0"
    assert purl.of_package(Package("pypi", "Foo_Bar", "1"), debian) == "pkg:pypi/foo-bar@1"


def test_os_release() -> None:
    assert distribution('PRETTY_NAME="x"\nID=debian\nVERSION_ID="12"\n') == Distribution("debian", "12")
    assert distribution("") == Distribution()
