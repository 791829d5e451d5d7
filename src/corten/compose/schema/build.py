"""`build`."""

from __future__ import annotations

from corten.compose.schema.shapes import (
    BOOLEAN_TEXT,
    EXTRA_HOSTS,
    FILE_REFERENCES,
    INTEGER_TEXT,
    PAIRS,
    STRING,
    STRINGS,
    ULIMITS,
    choice,
    mapping,
    scalar,
)

_STRING_OR_BOOLEAN = scalar("string", "boolean")

BUILD = choice(
    STRING,
    mapping(
        {
            "context": STRING,
            "dockerfile": STRING,
            "dockerfile_inline": STRING,
            "entitlements": STRINGS,
            "args": PAIRS,
            "ssh": PAIRS,
            "labels": PAIRS,
            "cache_from": STRINGS,
            "cache_to": STRINGS,
            "no_cache": BOOLEAN_TEXT,
            "additional_contexts": PAIRS,
            "network": STRING,
            "provenance": _STRING_OR_BOOLEAN,
            "sbom": _STRING_OR_BOOLEAN,
            "pull": BOOLEAN_TEXT,
            "target": STRING,
            "shm_size": INTEGER_TEXT,
            "extra_hosts": EXTRA_HOSTS,
            "isolation": STRING,
            "privileged": BOOLEAN_TEXT,
            "secrets": FILE_REFERENCES,
            "tags": STRINGS,
            "ulimits": ULIMITS,
            "platforms": STRINGS,
        }
    ),
)
