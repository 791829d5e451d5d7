"""The packages of a result as an SPDX document: the same tree gives the same bytes, but for the time, which
SOURCE_DATE_EPOCH sets."""

from __future__ import annotations

import hashlib
import re
import time
import uuid

import msgspec

from corten import __version__
from corten.build.attest.licenses import Licenses
from corten.spec import purl, spdx
from corten.spec.packages.package import Distribution, Inventory, Package

_TOOL = f"Tool: corten-{__version__}"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://corten.invalid/spdx")
_ROOT = "SPDXRef-DocumentRoot"
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9.-]+")


def document(inventory: Inventory, name: str, tree: str, epoch: int | None = None) -> bytes:
    """`name` is what people call the result, `tree` a digest of its content ("" for no files). `epoch` in seconds takes
    the place of the time. May take seconds: for a thread."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))  # None is now
    licenses = Licenses()
    packages = [_package(each, inventory.distribution, licenses) for each in inventory.packages]
    found = spdx.Document(
        spdx_version=spdx.VERSION,
        data_license="CC0-1.0",
        id=spdx.DOCUMENT,
        name=name,
        document_namespace=f"https://corten.invalid/spdx/{uuid.uuid5(_NAMESPACE, f'{name} {tree} {created}')}",
        creation_info=spdx.CreationInfo(created, [_TOOL]),
        packages=[_root(name, tree), *packages],
        relationships=[
            spdx.Relationship(spdx.DOCUMENT, "DESCRIBES", _ROOT),
            *(spdx.Relationship(_ROOT, "CONTAINS", package.id) for package in packages),
        ],
        extracted_licenses=licenses.extracted,
        annotations=[spdx.Annotation(created, "OTHER", _TOOL, f"not read: {line}") for line in inventory.unread],
    )
    return msgspec.json.encode(found)


def _root(name: str, tree: str) -> spdx.Package:
    return spdx.Package(
        id=_ROOT,
        name=name,
        version_info=tree,
        supplier=spdx.NO_ASSERTION,
        download_location=spdx.NO_ASSERTION,
        files_analyzed=False,
        license_concluded=spdx.NO_ASSERTION,
        license_declared=spdx.NO_ASSERTION,
        copyright_text=spdx.NO_ASSERTION,
        primary_package_purpose="CONTAINER",
    )


def _package(package: Package, distribution: Distribution, licenses: Licenses) -> spdx.Package:
    return spdx.Package(
        id=_id(package),
        name=package.name,
        version_info=f"{package.epoch}:{package.version}" if package.epoch else package.version,
        supplier=_supplier(package.supplier),
        download_location=spdx.NO_ASSERTION,
        files_analyzed=False,
        source_info=f"from {package.place}",
        license_concluded=spdx.NO_ASSERTION,
        license_declared=licenses.expression(package.license),
        copyright_text=spdx.NO_ASSERTION,
        external_refs=[spdx.ExternalRef("PACKAGE-MANAGER", "purl", purl.of_package(package, distribution))],
    )


def _id(package: Package) -> str:
    """The same package at two places has two."""
    short = hashlib.sha256("\0".join(package).encode()).hexdigest()[:16]
    return f"SPDXRef-Package-{package.kind}-{_NOT_IN_ID.sub('-', package.name)}-{short}"


def _supplier(text: str) -> str:
    """Package managers do not say whether it is one of many."""
    name, _, address = text.partition("<")
    if not name.strip():
        return spdx.NO_ASSERTION
    mail = f" ({address.rstrip('> ')})" if "@" in address else ""
    return f"Organization: {name.strip()}{mail}"
