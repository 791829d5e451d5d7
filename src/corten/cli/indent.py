"""JSON text set out on lines, as Go's json.Indent does it: every byte of the values stays as the daemon wrote it."""

from __future__ import annotations

import re

STEP = "    "
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def indent(text: str) -> str:
    """`text` must be valid JSON."""
    out: list[str] = []
    depth = 0
    fresh = False
    for token in TOKEN.findall(text):
        if token in ("}", "]"):
            depth -= 1
            out.append(token if fresh else f"\n{STEP * depth}{token}")
            fresh = False
            continue
        if fresh:
            out.append(f"\n{STEP * depth}")
            fresh = False
        if token in ("{", "["):
            depth += 1
            fresh = True
            out.append(token)
        elif token == ",":
            out.append(f",\n{STEP * depth}")
        elif token == ":":
            out.append(": ")
        else:
            out.append(token)
    return "".join(out)
