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


def one_line(text: str, longest: int = 1000) -> str:
    """A message that quotes a request, made safe to print and to log: escapes for control characters, and an end."""
    shown = (
        text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    )
    return shown if len(shown) <= longest else shown[:longest] + "..."
