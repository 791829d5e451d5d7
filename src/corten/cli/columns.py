"""Go's text/tabwriter, as Docker's tables use it: elastic columns of cells that end in a tab, padded with blanks.

A column is a run of consecutive lines that all have a tab-terminated cell at that place; it is as wide as its widest
cell plus `padding`, and at least `minimum`. What follows the last tab of a line belongs to no column.
"""

from __future__ import annotations

MINIMUM, PADDING = 10, 3


def align(text: str, minimum: int = MINIMUM, padding: int = PADDING) -> str:
    """`text` with its tabs turned into blanks."""
    lines = [line.split("\t") for line in text.split("\n")]
    block: list[list[int]] = []  # of each column its width, which lines beside each other that have it share
    widths = []
    for cells in lines:
        del block[len(cells) - 1 :]
        block += [[minimum] for _ in range(len(cells) - 1 - len(block))]
        for width, cell in zip(block, cells, strict=False):
            width[0] = max(width[0], len(cell) + padding)
        widths.append(block.copy())
    return "\n".join(_line(cells, [width for (width,) in found]) for cells, found in zip(lines, widths, strict=True))


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "".join(padded) + "".join(cells[len(widths) :])


def table(header: list[str], rows: list[list[str]]) -> str:
    """A header and rows of the same number of columns."""
    return align("\n".join("\t".join(cells) for cells in [header, *rows]))
