"""The table of `run --timing`: where the start of a container spent its time, client and daemon side by side.

The daemon's names say what belongs to what: "start.init: mounts" is a part of "start.init", which is a part of
"start"; "total" is the daemon's own sum, because some of its phases go on side by side.
"""

from __future__ import annotations

BAR = 30
TOTAL = "total"
DAEMON = "daemon, inside create and start"


def table(client: dict[str, float], daemon: dict[str, float]) -> str:
    """Rows of phase, milliseconds and a bar."""
    sections = [_section("client", client)] + ([_section(DAEMON, daemon)] if daemon else [])
    width = max(len(name) for rows in sections for name, _ in rows)
    longest = max([seconds for rows in sections for _, seconds in rows[1:-1]] + [1e-9])
    return "\n\n".join("\n".join(_lines(rows, width, longest)) for rows in sections)


def _section(title: str, phases: dict[str, float]) -> list[tuple[str, float]]:
    """(indented name, seconds) with the title first and the total last."""
    rows = [(title, 0.0)]
    top = [name for name in phases if name != TOTAL and not _parent(name, phases)]
    for name in top:
        rows += _branch(name, phases, 1)
    total = phases.get(TOTAL, sum(phases[name] for name in top))
    return [*rows, (f"  {TOTAL}", total)]


def _branch(name: str, phases: dict[str, float], depth: int) -> list[tuple[str, float]]:
    parent = _parent(name, phases)
    shown = name[len(parent) :].lstrip(".: ")
    rows = [("  " * depth + shown, phases[name])]
    for other in phases:
        if _parent(other, phases) == name:
            rows += _branch(other, phases, depth + 1)
    return rows


def _parent(name: str, phases: dict[str, float]) -> str:
    """The longest other phase that `name` is a part of; empty for one that stands by itself."""
    starts = (other for other in phases if name.startswith((f"{other}.", f"{other}: ")))
    return max(starts, key=len, default="")


def _lines(rows: list[tuple[str, float]], width: int, longest: float) -> list[str]:
    (title, _), *phases = rows
    lines = [f"{title.ljust(width)}   {'ms':>9}"]
    for name, seconds in phases:
        bar = "#" * round(BAR * seconds / longest) if name.strip() != TOTAL else ""
        lines.append(f"{name.ljust(width)}   {seconds * 1000:9.2f}  {bar}".rstrip())
    return lines
