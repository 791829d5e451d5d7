"""SPDX 2.3 documents as JSON (spdx.github.io/spdx-spec/v2.3), as far as they list packages."""

from __future__ import annotations

import msgspec

VERSION = "SPDX-2.3"
DOCUMENT = "SPDXRef-DOCUMENT"
NO_ASSERTION = "NOASSERTION"
PREDICATE = "https://spdx.dev/Document"


class ExternalRef(msgspec.Struct, frozen=True, rename="camel"):
    reference_category: str
    reference_type: str
    reference_locator: str


class Package(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    id: str = msgspec.field(name="SPDXID")
    name: str
    version_info: str = ""
    supplier: str = ""
    download_location: str
    files_analyzed: bool
    source_info: str = ""
    license_concluded: str
    license_declared: str
    copyright_text: str
    external_refs: list[ExternalRef] = msgspec.field(default_factory=list)
    primary_package_purpose: str = ""


class Relationship(msgspec.Struct, frozen=True, rename="camel"):
    element: str = msgspec.field(name="spdxElementId")
    kind: str = msgspec.field(name="relationshipType")
    related: str = msgspec.field(name="relatedSpdxElement")


class ExtractedLicense(msgspec.Struct, frozen=True, rename="camel"):
    license_id: str
    extracted_text: str


class Annotation(msgspec.Struct, frozen=True, rename="camel"):
    annotation_date: str
    annotation_type: str
    annotator: str
    comment: str


class CreationInfo(msgspec.Struct, frozen=True, rename="camel"):
    created: str
    creators: list[str]


class Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    spdx_version: str
    data_license: str
    id: str = msgspec.field(name="SPDXID")
    name: str
    document_namespace: str
    creation_info: CreationInfo
    packages: list[Package]
    relationships: list[Relationship]
    extracted_licenses: list[ExtractedLicense] = msgspec.field(name="hasExtractedLicensingInfos", default_factory=list)
    annotations: list[Annotation] = msgspec.field(default_factory=list)
