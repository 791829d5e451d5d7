"""Regular expressions that a client sends: in Go's syntax, and bounded in what they cost.

RE2 is what Go's `regexp` was made from: the same syntax, and a search takes time in proportion to the text, whatever
the expression is; with Python's `re` that can be exponential. What is left to bound is how large expressions are, how
long a text is, and how much time all texts of one list take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from corten.errors import Invalid

MAX_EXPRESSIONS = 4 << 10  # bytes of all of one filter: to parse and compile them takes 0.2 s at most
MAX_TEXT = 4 << 10  # characters
MAX_SECONDS = 0.25  # of the processor, for all texts of one list: 10,000 names take 0.02

_SPECIAL = frozenset(r"\.+*?()|[]{}^$")
_PROGRAM = 256 << 10  # bytes: some 10,000 instructions, by which the time for a character is bounded


def matcher(key: str, values: frozenset[str]) -> Callable[[str], bool]:
    """Whether a text is one of the values, or one of them, as an expression, is found in it. What is no expression is
    only itself.

    Raises Invalid, naming the filter `key`, when expressions are too large; so does what is returned, for a text that
    is too long for them, and when all texts together took too long.
    """
    words = [value for value in values if _SPECIAL.isdisjoint(value)]  # found where they stand in the text
    found = _search(key, values.difference(words))
    spent = 0.0

    def matches(text: str) -> bool:
        nonlocal spent
        if spent > MAX_SECONDS:
            raise _too_long(key)
        start = time.thread_time()
        result = text in values or any(word in text for word in words) or found(text)
        spent += time.thread_time() - start
        return result

    return matches


def _too_long(key: str) -> Invalid:
    return Invalid(f"the expressions of filter '{key}' take too long")


def _search(key: str, values: Collection[str]) -> Callable[[str], bool]:
    """Whether one of the expressions is found in a text."""
    if not values:
        return lambda text: False
    import re2  # 10 ms and 5 MB, which a daemon that is never asked for an expression does not need

    if sum(len(value.encode()) for value in values) > MAX_EXPRESSIONS:
        raise Invalid(f"the expressions of filter '{key}' have more than {MAX_EXPRESSIONS} bytes")
    options = re2.Options()
    options.log_errors, options.never_capture, options.max_mem = False, True, _PROGRAM
    alone = [value for value in values if _is_expression(value, re2.Set.SearchSet(options))]
    if not alone:
        return lambda text: False
    try:
        together = re2.compile("|".join(f"(?:{value})" for value in alone), options)
    except re2.error as error:
        raise Invalid(f"the expressions of filter '{key}' are too large, or cannot be searched for together") from error
    finally:
        re2.purge()  # it keeps the last 128

    def found(text: str) -> bool:
        if len(text) > MAX_TEXT:
            raise _too_long(key)
        return together.search(text) is not None

    return found


def _is_expression(value: str, parser: Any) -> bool:
    """A set parses what is added to it, and is compiled later: here never."""
    import re2

    try:
        parser.Add(value)
    except re2.error:
        return False
    return True
