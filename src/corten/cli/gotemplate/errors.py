"""A template that cannot be parsed, or that fails while it runs. The messages are Go's: users search for them."""

from __future__ import annotations

from corten.errors import Invalid


class ParseError(Invalid):
    """template: NAME:LINE: what is wrong"""


class ExecError(Invalid):
    """template: NAME:LINE:COLUMN: executing "NAME" at <NODE>: what is wrong"""


class CallError(Exception):
    """A function refuses its arguments; the evaluator adds where."""
