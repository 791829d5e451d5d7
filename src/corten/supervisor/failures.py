"""Errors on their way from the process where they happened to the daemon."""

from __future__ import annotations

import os
import sys
from typing import Any

from corten.errors import CortenError
from corten.runtime.messages import ChildFailed

Json = dict[str, Any]

EXPECTED = (ChildFailed, CortenError, OSError, ValueError, KeyError)


class Reported(Exception):
    """What a process forked for some work said of its failure; `body` is as `describe` makes it."""

    def __init__(self, body: Json) -> None:
        super().__init__(body["text"])
        self.body = body


def print_exception() -> None:
    """The exception being handled, to standard error, by the interpreter itself: the module `traceback` would bring
    a tokenizer and more into every supervisor."""
    sys.__excepthook__(*sys.exc_info())
    sys.stderr.flush()


def describe(error: BaseException) -> Json:
    """An error as the daemon gets it; `kind` is the class's name, `code` what a container would report."""
    if isinstance(error, Reported):
        return error.body
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{text}: {os.fsdecode(error.filename)}"
    return {
        "kind": type(error).__name__,
        "text": text or type(error).__name__,
        "code": getattr(error, "code", 125),
        "errno": getattr(error, "errno", 0) or 0,
    }
