"""SPDX documents of what package managers know."""

from __future__ import annotations

import json

import pytest

import spdx_check
from corten.build.attest.licenses import Licenses
from corten.build.attest.sbom import document
from corten.spec.packages.package import Distribution, Inventory, Package

_FOUND = Inventory(
    Distribution("debian", "12"),
    [
        Package("deb", "bash", "5.2-1", "amd64", "GPL-3+", "Matthias <m@debian.org>", place="var/lib/dpkg/status"),
        Package("npm", "@a/b", "1.0.0", license="SEE LICENSE IN x", place="app/node_modules/@a/b/package.json"),
        Package("npm", "@a/b", "1.0.0", place="app/node_modules/c/node_modules/@a/b/package.json"),
        Package("rpm", "vim", "9-1", "x86_64", "Vim and MIT", epoch="2", place="var/lib/rpm/rpmdb.sqlite"),
    ],
    ["var/lib/rpm/Packages.db: not read"],
)


def test_a_document() -> None:
    found = json.loads(document(_FOUND, "app:1", "sha256:abc", 1_700_000_000))
    bash, first, second, vim = spdx_check.check(found)
    assert (bash["name"], bash["versionInfo"], bash["licenseDeclared"]) == ("bash", "5.2-1", "GPL-3.0-or-later")
    assert bash["supplier"] == "Organization: Matthias (m@debian.org)"
    assert first["SPDXID"] != second["SPDXID"] and second["licenseDeclared"] == "NOASSERTION"
    assert found["hasExtractedLicensingInfos"] == [
        {"licenseId": "LicenseRef-SEE-LICENSE-IN-x", "extractedText": "SEE LICENSE IN x"}
    ]
    assert (vim["versionInfo"], vim["licenseDeclared"]) == ("2:9-1", "Vim AND MIT")
    assert found["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert found["annotations"][0]["comment"] == "not read: var/lib/rpm/Packages.db: not read"


def test_a_time_makes_it_reproducible() -> None:
    assert document(_FOUND, "a", "t", 0) == document(_FOUND, "a", "t", 0)
    assert json.loads(document(_FOUND, "a", "t", 0))["creationInfo"]["created"] == "1970-01-01T00:00:00Z"
    namespaces = {json.loads(document(_FOUND, *args))["documentNamespace"] for args in (("a", "t", 0), ("b", "t", 0))}
    assert len(namespaces) == 2


def test_nothing_at_all() -> None:
    assert spdx_check.check(json.loads(document(Inventory(Distribution(), [], []), "scratch", ""))) == []


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("", "NOASSERTION"),
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("Expat", "MIT"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("GPL-3.0-only", "GPL-3.0-only"),
        ("GPL-9", "LicenseRef-GPL-9"),
        ("MIT License", "MIT"),
        ("BSD License", "LicenseRef-BSD-License"),
        ("(MIT OR Apache-2.0) and isc", "(MIT OR Apache-2.0) AND ISC"),
        ("GPL-2+ or Artistic", "GPL-2.0-or-later OR LicenseRef-Artistic"),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        ("GPL-3+ with something", "LicenseRef-GPL-3-with-something"),
        ("MIT OR", "LicenseRef-MIT-OR"),
        ("(MIT", "LicenseRef-MIT"),
        (") (", "LicenseRef-other"),
        ("AND", "LicenseRef-AND"),
        ("ÄÖ", "LicenseRef-other"),
    ],
)
def test_licenses(text: str, expression: str) -> None:
    assert Licenses().expression(text) == expression


def test_two_licenses_of_one_name() -> None:
    licenses = Licenses()
    assert [licenses.expression(text) for text in ("a b", "a/b", "a b")] == [
        "LicenseRef-a-b", "LicenseRef-a-b-2", "LicenseRef-a-b",
    ]  # fmt: skip
    assert [each.extracted_text for each in licenses.extracted] == ["a b", "a/b"]
