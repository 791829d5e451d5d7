"""Answers to BuildKit's subrequests about a Dockerfile (`build --call`): metadata of a result, as JSON in the shape of
BuildKit's frontend/subrequests, and as text. `lint` has a module of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from corten.build import lint
from corten.build.dockerfile import Definition
from corten.spec.dockerfile.outline import Mounted, Outline
from corten.spec.dockerfile.span import Span
from corten.spec.json import Json

DESCRIBE, OUTLINE, TARGETS = "frontend.subrequests.describe", "frontend.outline", "frontend.targets"
_VERSION = b"1.0.0"
_METADATA = ("result.json", "result.txt")
_KNOWN: tuple[tuple[str, str, tuple[tuple[str, str], ...], tuple[str, ...]], ...] = (
    (OUTLINE, "List all parameters current build target supports", (("target", "Target build stage"),), _METADATA),
    (TARGETS, "List all targets current build supports", (), _METADATA),
    (lint.NAME, "Lint a Dockerfile", (), (*_METADATA, "result.statuscode")),
    (DESCRIBE, "List available subrequest types", (), _METADATA),
)


def described() -> dict[str, bytes]:
    """What can be asked."""
    found = [
        {
            "name": name,
            "version": _VERSION.decode(),
            "type": "rpc",
            "description": text,
            "opts": [{"name": key, "description": about} for key, about in options],
            "inputs": None,
            "metadata": [{"name": key, "description": ""} for key in metadata],
            "refs": None,
        }
        for name, text, options, metadata in _KNOWN
    ]
    rows = [(name.removeprefix("frontend."), _VERSION.decode(), text) for name, text, _, _ in _KNOWN]
    return _metadata(found, _table([("NAME", "VERSION", "DESCRIPTION"), *rows], 1))


def targets(definition: Definition) -> dict[str, bytes]:
    """Every stage; the last one is the default."""
    found, rows = [], [("TARGET", "DESCRIPTION")]
    for stage in definition.file.stages:
        base, default = stage.base, stage is definition.file.stages[-1]
        name = base.name
        named: Json = {"name": name, "default": default, "description": base.description}
        named |= {"base": base.image, "platform": base.platform}
        named = {key: value for key, value in named.items() if value}
        found.append({**named, "location": _location(base.written.span)})
        shown = f"{name} (default)" if default and name else "(default)" if default else name
        rows.append((shown, base.description))
    return _metadata({"targets": found, "sources": [_encoded(definition.text)]}, _table(rows, 1))


def outline(definition: Definition, found: Outline) -> dict[str, bytes]:
    """Of one target."""
    args: list[Json] = [
        {
            "name": each.name,
            **({"description": each.description} if each.description else {}),
            **({"value": each.value} if each.value else {}),
            "location": _location(each.span),
        }
        for each in found.arguments
    ]
    body: Json = {"name": found.name, "description": found.description, "args": args}
    body |= {"secrets": _mounted(found.secrets), "ssh": _mounted(found.agents)}
    body = {key: value for key, value in body.items() if value}
    return _metadata({**body, "sources": [_encoded(definition.text)]}, _outlined(found))


def _mounted(found: Sequence[Mounted]) -> list[Json]:
    return [
        {"name": each.name, **({"required": True} if each.required else {}), "location": _location(each.span)}
        for each in found
    ]


def _outlined(found: Outline) -> str:
    parts = []
    if found.name or found.description:
        rows = [("TARGET:", found.name or "(default)")]
        rows += [("DESCRIPTION:", found.description)] if found.description else []
        parts.append(_table(rows, 1))
    if found.arguments:
        values = [(each.name, each.value, each.description) for each in found.arguments]
        parts.append(_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *values], 3))
    for title, mounts in (("SECRET", found.secrets), ("SSH", found.agents)):
        if mounts:
            named = [(each.name, "true" if each.required else "") for each in mounts]
            parts.append(_table([(title, "REQUIRED"), *named], 3))
    return "".join(f"{part}\n" for part in parts)


def _metadata(found: object, text: str) -> dict[str, bytes]:
    body = json.dumps(found, indent=2).encode()
    return {"result.json": body, "result.txt": text.encode("utf-8", "replace"), "version": _VERSION}


def _table(rows: Sequence[Sequence[str]], gap: int) -> str:
    """Columns as wide as their widest cell, and `gap` blanks between them."""
    widths = [max(len(row[at]) for row in rows) + gap for at in range(len(rows[0]) - 1)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths)) + row[-1] for row in rows]
    return "".join(f"{line}\n" for line in lines)


def _location(span: Span) -> Json:
    return {"ranges": [{"start": {"line": span.line}, "end": {"line": span.end}}]}


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()
