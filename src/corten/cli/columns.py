"""Go's text/tabwriter, as Docker's tables use it: elastic columns of cells that end in a tab, padded with blanks.

A column is a run of consecutive lines that all have a tab-terminated cell at that place; it is as wide as its widest
cell plus `padding`, and at least `minimum`. What follows the last tab of a line belongs to no column.
"""

from __future__ import annotations

MINIMUM, PADDING = 10, 3


def align(text: str, minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """`text` with its tabs turned into blanks."""
    lines = [line.split("\t") for line in text.split("\n")]
    out: list[str] = []
    _block(lines, 0, len(lines), [], out, minimum, padding)
    return "\n".join(out)


def _block(
    lines: list[list[str]], start: int, end: int, widths: list[int], out: list[str], minimum: int, padding: int
) -> None:
    """Lay out lines[start:end], whose first len(widths) columns are known."""
    column = len(widths)
    at = start
    while at < end:
        if column >= len(lines[at]) - 1:
            out.append(_line(lines[at], widths))
            at += 1
            continue
        stop = at
        width = minimum
        while stop < end and column < len(lines[stop]) - 1:
            cell = len(lines[stop][column])
            width = max(width, cell + padding)
            stop += 1
        _block(lines, at, stop, [*widths, width], out, minimum, padding)
        at = stop


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "".join(padded) + "".join(cells[len(widths) :])


def table(header: list[str], rows: list[list[str]]) -> str:
    """A header and rows of the same number of columns."""
    return align("\n".join("\t".join(cells) for cells in [header, *rows]))
