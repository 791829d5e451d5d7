"""The short form of a volume: [SOURCE:]TARGET[:OPTION,...]."""

from __future__ import annotations

from corten.compose.document import Tree
from corten.compose.loader.gopaths import cleaned

_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


def parse_volume(text: str) -> Tree:
    """Its long form; a colon within ${...} separates nothing. Raises ValueError in Compose's words."""
    if not text:
        raise ValueError("invalid empty volume spec")
    if len(text) <= 2:
        return {"type": "volume", "target": text}
    fields = _fields(text)
    if any(not field for field in fields):
        raise ValueError(f"invalid spec: {text}: empty section between colons")
    if len(fields) > 3:
        raise ValueError(f"invalid spec: {text}: too many colons")
    source, target = ("", fields[0]) if len(fields) == 1 else (fields[0], fields[1])
    options = fields[2].split(",") if len(fields) == 3 else []
    return _long(source, target, options)


def _long(source: str, target: str, options: list[str]) -> Tree:
    bind = is_path(source)
    found: Tree = {"type": "bind" if bind else "volume"}
    if source:
        found["source"] = source
    found["target"] = cleaned(target) if target else ""
    for option in options:
        if option in ("ro", "rw"):
            found["read_only"] = option == "ro"
    details: Tree = {}
    for option in options:
        if option in _PROPAGATIONS:
            details["propagation"] = option
        elif option in ("z", "Z"):
            details["selinux"] = option
    if bind:
        found["bind"] = {**details, "create_host_path": True}
    elif details:
        found["bind"] = details
    if "nocopy" in options:
        found["volume"] = {"nocopy": True}
    elif not bind:
        found["volume"] = {}
    return found


def _fields(text: str) -> list[str]:
    fields, depth = [""], 0
    for at, character in enumerate(text):
        if character == "$" and text[at + 1 : at + 2] == "{":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        drive = len(fields[-1]) == 1 and fields[-1].isalpha()
        if character == ":" and not depth and not drive:
            fields.append("")
        else:
            fields[-1] += character
    return fields


def is_path(source: str) -> bool:
    """Whether a source is a path of the host: it begins with . / ~, or is of Windows."""
    if not source:
        return False
    return source[0] in "./~" or source.startswith("\\\\") or (source[0].isalpha() and source[1:2] == ":")
