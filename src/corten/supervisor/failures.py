"""Which errors are no bugs, and how those that are one are printed. `corten.errors` sends them to the daemon."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError

EXPECTED = (CortenError, OSError, ValueError, KeyError)


def print_exception() -> None:
    """The exception being handled, to standard error, by the interpreter itself: the module `traceback` would bring
    a tokenizer and more into every supervisor."""
    sys.__excepthook__(*sys.exc_info())
    sys.stderr.flush()


def tried(work: Callable[[], Any]) -> dict[str, Any]:
    """What a helper answers: {"ok": what `work` returns}, or {"error": ...}. A bug is printed as well."""
    try:
        return {"ok": work()}
    except Exception as error:
        if not isinstance(error, EXPECTED):
            print_exception()
        return {"error": encode(error)}
