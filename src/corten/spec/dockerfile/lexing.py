"""An instruction's line in parts: keyword, flags, words, JSON."""

from __future__ import annotations

import re
from functools import cache

from corten.errors import Invalid
from corten.spec import go_json
from corten.spec.dockerfile.texts import SPACE

_BLANK = re.compile(r"[\t\v\f\r ]+")


class LexicalError(ValueError):
    """Of a text that cannot be split in parts. BuildKit says these without the number of the line."""


def keyword(text: str) -> tuple[str, str]:
    """The first word of a line, and the rest."""
    parts = _BLANK.split(text.strip(SPACE), maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def flags(text: str, escape: str) -> tuple[list[str], str]:
    """`--flag=value ...` at the begin of a text, quotes taken away, and the rest. `--` alone ends them."""
    found: list[str] = []
    at = 0
    while True:
        at = _skip(text, at)
        if not text.startswith("--", at):
            return found, text[at:].strip(SPACE)
        word, at = _word(text, at, escape, keep=False)
        if word == "--":
            return found, text[at:].strip(SPACE)
        found.append(word)


def words(text: str, escape: str) -> list[str]:
    """Words with their quotes and escapes: blanks in quotes, or after an escape, are theirs."""
    found: list[str] = []
    at = 0
    while True:
        at = _skip(text, at)
        if at == len(text):
            return found
        word, at = _word(text, at, escape, keep=True)
        if word:  # an escape alone at the end is none
            found.append(word)


def split(text: str) -> list[str]:
    """Words between blanks; quotes are characters as any."""
    return _BLANK.split(text) if text else []


def first_word(text: str) -> tuple[str, str | None]:
    """What is before the first blank, and what is after it; None when there is no blank."""
    parts = _BLANK.split(text, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else None


def json_words(text: str) -> tuple[str, ...] | None:
    """A JSON array of strings; None when it is no JSON array. Raises LexicalError for an array of something else."""
    if not text.startswith("["):
        return None
    try:
        listed = go_json.value(text.encode(), "it")
    except Invalid:
        return None
    if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
        raise LexicalError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(listed)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


@cache
def _plain(escape: str) -> dict[str, re.Pattern[str]]:
    """Characters that mean nothing: outside of quotes, in single and in double ones."""
    stops = {"": "\\s\"'", "'": "'", '"': '"'}
    return {quote: re.compile(f"[^{re.escape(escape)}{stop}]+") for quote, stop in stops.items()}


def _word(text: str, at: int, escape: str, keep: bool) -> tuple[str, int]:
    """A word, and where it ends. `keep`: with quotes and escapes. In single quotes an escape is a character as any when
    they are kept, and escapes when they are not: as BuildKit reads arguments, and flags."""
    quote, plain = "", _plain(escape)
    out: list[str] = []
    while at < len(text):
        found = plain[quote].match(text, at)
        if found is not None:
            at = found.end()
            out.append(found[0])
            continue
        char = text[at]
        if not quote and char.isspace():
            break
        at += 1
        if char == escape and not (keep and quote == "'"):
            out.append((char if keep and at < len(text) else "") + text[at : at + 1])
            at += 1
        elif char == quote or (not quote and char in "'\""):
            quote = "" if quote else char
            out.append(char if keep else "")
        else:
            out.append(char)
    return "".join(out), min(at, len(text))
