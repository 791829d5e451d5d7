"""Texts that become part of a line in some file or of a name in the kernel."""

from __future__ import annotations

from corten.errors import Invalid


def check_line(noun: str, text: str) -> None:
    """No control characters: a newline would begin another line in hosts, passwd, or a log (ESC-14)."""
    if not text.isprintable():
        raise Invalid(f"invalid {noun}: {text!r} contains a control character")


def check_word(noun: str, text: str, longest: int = 255) -> None:
    """A line without blanks, and without what begins a comment."""
    check_line(noun, text)
    if len(text) > longest or " " in text or "#" in text:
        raise Invalid(f"invalid {noun}: {text[:longest]!r}")
