"""The answer to BuildKit's subrequest frontend.lint (`build --check`): what a Dockerfile's checks found, as JSON in the
shape of lint.LintResults of BuildKit's frontend, and as text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from corten.build.contract import BuildFailed
from corten.spec.dockerfile import places
from corten.spec.dockerfile.check_rules import Finding
from corten.spec.json import Json

NAME, _VERSION = "frontend.lint", b"1.0.0"


def answer(filename: str, dockerfile: bytes, findings: Sequence[Finding], failed: bool) -> dict[str, bytes]:
    """Metadata of a result. `failed`: the Dockerfile says that findings are errors."""
    lines = [f"{each.rule}: {each.message} ({filename}:{each.span.line})\n" for each in findings]
    return _metadata(found(filename, dockerfile, findings), "".join(lines), failed)


def error(error: BuildFailed) -> dict[str, bytes]:
    """The same for a Dockerfile that cannot be planned."""
    return _metadata(refused(error), f"{error}\n", True)


def found(filename: str, dockerfile: bytes, findings: Sequence[Finding]) -> Json:
    """lint.LintResults."""
    warnings = [
        {
            "ruleName": finding.rule,
            "description": finding.description,
            "url": finding.url,
            "detail": finding.message,
            "location": {"ranges": places.ranges([(finding.span.line, finding.span.end)])},
        }
        for finding in findings
    ]
    return {"warnings": warnings, "sources": [places.source(filename, dockerfile)]}


def refused(error: BuildFailed) -> Json:
    """The same of a Dockerfile that cannot be planned."""
    said = {"message": str(error), "location": {"ranges": places.ranges(error.ranges)}}
    return {"warnings": [], "sources": [places.source(error.filename, error.dockerfile)], "buildError": said}


def _metadata(found: Json, text: str, failed: bool) -> dict[str, bytes]:
    status = b"1" if failed else b"0"
    named = {"result.json": json.dumps(found).encode(), "result.txt": text.encode()}
    return {**named, "result.statuscode": status, "version": _VERSION}
