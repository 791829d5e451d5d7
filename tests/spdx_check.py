"""What SPDX 2.3 requires of a document in JSON (the schema's required properties, and its rules for ids, relationships
and license expressions)."""

from __future__ import annotations

import re
from typing import Any

_ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]+\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^#\s]+\Z")
_CREATOR = re.compile(r"(Tool|Person|Organization): \S.*")
_SUPPLIER = re.compile(r"NOASSERTION\Z|(Person|Organization): \S.*")
_PURL = re.compile(r"pkg:[a-z]+/[A-Za-z0-9._~%/-]+(@[A-Za-z0-9._~%-]+)?(\?[a-z]+=[^&\s]+(&[a-z]+=[^&\s]+)*)?\Z")
_EXPRESSION = re.compile(r"[A-Za-z0-9.()+ -]+\Z")


def check(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The packages but the one that is the result itself. AssertionError with what is wrong."""
    assert document["spdxVersion"] == "SPDX-2.3" and document["dataLicense"] == "CC0-1.0"
    assert document["SPDXID"] == "SPDXRef-DOCUMENT" and document["name"]
    assert _URI.match(document["documentNamespace"]), document["documentNamespace"]
    assert _TIME.match(document["creationInfo"]["created"]), document["creationInfo"]
    assert all(map(_CREATOR.match, document["creationInfo"]["creators"]))
    ids = ["SPDXRef-DOCUMENT", *(package["SPDXID"] for package in document["packages"])]
    assert len(set(ids)) == len(ids) and all(map(_ID.match, ids))
    extracted = {each["licenseId"]: each["extractedText"] for each in document.get("hasExtractedLicensingInfos", ())}
    assert all(re.match(r"LicenseRef-[A-Za-z0-9.-]+\Z", id) and text for id, text in extracted.items())
    for package in document["packages"]:
        _package(package, extracted)
    (described,) = _related(document, ids, "DESCRIBES", "SPDXRef-DOCUMENT")
    contained = _related(document, ids, "CONTAINS", described)
    assert sorted([described, *contained]) == sorted(ids[1:])
    for each in document.get("annotations", ()):
        assert _TIME.match(each["annotationDate"]) and _CREATOR.match(each["annotator"]) and each["comment"]
        assert each["annotationType"] in ("OTHER", "REVIEW")
    return [package for package in document["packages"] if package["SPDXID"] != described]


def _package(package: dict[str, Any], extracted: dict[str, str]) -> None:
    assert package["name"] and package["downloadLocation"] == "NOASSERTION" and package["filesAnalyzed"] is False
    assert _SUPPLIER.match(package["supplier"]), package
    for key in ("licenseConcluded", "licenseDeclared"):
        assert _EXPRESSION.match(package[key]), package
        refs = re.findall(r"LicenseRef-[A-Za-z0-9.-]+", package[key])
        assert all(ref in extracted for ref in refs), package
    for reference in package.get("externalRefs", ()):
        assert (reference["referenceCategory"], reference["referenceType"]) == ("PACKAGE-MANAGER", "purl")
        assert _PURL.match(reference["referenceLocator"]), reference


def _related(document: dict[str, Any], ids: list[str], kind: str, element: str) -> list[str]:
    found = []
    for each in document["relationships"]:
        assert each["spdxElementId"] in ids and each["relatedSpdxElement"] in ids
        if each["relationshipType"] == kind and each["spdxElementId"] == element:
            found.append(each["relatedSpdxElement"])
    return found
