"""How an error travels between processes: `encode` makes a JSON object of it, `decode` an error of that.

    kind   the class: one of `corten.errors`, the name of an OSError's class, or anything else
    text   the message
    code   StartFailed's exit code; 125 for all others
    errno  of an OSError; 0 for all others
    bases  the classes above `kind` in that tree, nearest first; absent when there is none but CortenError

A supervisor outlives its daemon, so either side may be the older one. A class that the reader does not have is read as
the nearest of `bases` that it has, and as what `decode` is given when it has none. What is missing counts as 125, 0 and
empty. Apart from `corten.errors`, because the command line loads that and not this.
"""

from __future__ import annotations

import os
from typing import Any

from corten import errors
from corten.errors import CortenError, Failed, StartFailed

_CLASSES: dict[str, type[CortenError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, CortenError) and kind is not CortenError
}
_FORMER = {"ChildFailed": "StartFailed"}  # as supervisors up to wire version 1 name it


def encode(error: BaseException) -> dict[str, Any]:
    """The error as `decode` reads it. Classes that are not in `corten.errors` count as the nearest one that is."""
    if isinstance(error, CortenError):
        kinds = [c.__name__ for c in type(error).__mro__ if _CLASSES.get(c.__name__) is c] or [Failed.__name__]
        body = {"kind": kinds[0], "text": _whole(str(error)), "code": getattr(error, "exit_code", 125), "errno": 0}
        return {**body, "bases": kinds[1:]} if len(kinds) > 1 else body
    text, number = str(error), 0
    if isinstance(error, OSError):
        text, number = error.strerror or text, error.errno or 0
        if isinstance(error.filename, (str, bytes)) and error.filename:  # a descriptor's number says nothing elsewhere
            text = f"{text}: {os.fsdecode(error.filename)}"
    text = _whole(text)
    return {"kind": type(error).__name__, "text": text or type(error).__name__, "code": 125, "errno": number}


def decode(body: dict[str, Any], unknown: type[CortenError] = Failed) -> CortenError | OSError:
    """The error that was encoded, with its class; an OSError has its errno, and the text with its file's name as
    `strerror`. What is neither, a ValueError or a bug in the other process, becomes an `unknown`."""
    kind, text, bases = str(body.get("kind", "")), _whole(str(body.get("text", ""))), body.get("bases")
    for name in (_FORMER.get(kind, kind), *(map(str, bases) if isinstance(bases, list) else ())):
        if name == StartFailed.__name__:
            return StartFailed(text, _small(body.get("code"), 125, 255))
        if name in _CLASSES:
            return _CLASSES[name](text)
    number = _small(body.get("errno"), 0, 4095)
    return OSError(number, text) if number else unknown(text)


def _small(value: object, missing: int, most: int) -> int:
    """An exit code or an errno; `missing` for what is none."""
    return value if type(value) is int and 0 <= value <= most else missing


def _whole(text: str) -> str:
    """With U+FFFD for each lone surrogate: a name that is not UTF-8 has them, and they cannot be written anywhere."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
