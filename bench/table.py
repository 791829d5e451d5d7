"""Tables as Markdown: the terminal shows what docs/benchmarks.md holds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from bench.measure import Row, Table, Target

HEAD = ("subject", "median", "min", "max", "runs", "ratio", "target", "reached")


def markdown(table: Table) -> str:
    """The table under a heading, with its note; below it why rows have no figures."""
    lines = [[*HEAD]]
    lines[0][1] = f"median {table.unit}"
    lines[0][5] = f"ratio to {table.base}"
    lines += [_cells(table, row) for row in table.rows]
    text = f"### {table.title}\n\n"
    if table.note:
        text += f"{table.note}\n\n"
    remarks = "".join(f"- {row.name}: {row.remark}\n" for row in table.rows if row.remark)
    return text + grid(lines) + "\n" + (f"\n{remarks}" if remarks else "")


def grid(lines: Sequence[Sequence[str]]) -> str:
    """Cells as an aligned Markdown table; the first line is the head, columns after the first are right-aligned."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(lines[0]))]
    rule = [":" + "-" * (widths[0] - 1)] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))
    return "| " + " | ".join((first, *rest)) + " |"


def _cells(table: Table, row: Row) -> list[str]:
    target = table.target(row)
    goal = limit(target, table) if target else ""
    if not row.values:
        return [row.name, "-", "", "", "", "", goal, "not measured" if goal else ""]
    ratio = table.ratio(row)
    reached = {None: "not measured" if goal else "", True: "yes", False: "no"}[table.reached(row)]
    return [
        row.name, number(row.median), number(min(row.values)), number(max(row.values)), str(len(row.values)),
        "" if ratio is None else f"{ratio:.3f}", goal, reached,
    ]  # fmt: skip


def limit(target: Target, table: Table) -> str:
    """`≤ 1/5`, or `≤ 60 MB`, or a part of another row than the base."""
    if not target.base:
        return f"≤ {target.limit:g} {table.unit}"
    part = str(Fraction(target.limit).limit_denominator(100))
    return f"≤ {part}" if target.base == table.base else f"≤ {part} of {target.base}"


def number(value: float) -> str:
    """Three figures that mean something, no more."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
