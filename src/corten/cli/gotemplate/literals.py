"""Go's constants: numbers, runes and quoted strings."""

from __future__ import annotations

ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
WIDTHS = {"x": 2, "u": 4, "U": 8}


def unquote(text: str) -> str:
    """The text of "a\\n" or `raw`, with its quotes. Raises ValueError for a bad escape."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    body = text[1:-1]
    out = []
    at = 0
    while at < len(body):
        if body[at] != "\\":
            out.append(body[at])
            at += 1
            continue
        char, at = _escape(body, at, text)
        out.append(char)
    return "".join(out)


def _escape(body: str, at: int, whole: str) -> tuple[str, int]:
    """The character of the escape at `at`, and where it ends."""
    letter = body[at + 1 : at + 2]
    try:
        if letter in ESCAPES and letter:
            return ESCAPES[letter], at + 2
        if letter in WIDTHS:
            end = at + 2 + WIDTHS[letter]
            return chr(int(body[at + 2 : end], 16)), end
        return chr(int(body[at + 1 : at + 4], 8)), at + 4
    except (ValueError, OverflowError):
        raise ValueError(f"invalid syntax: {whole}") from None


def rune(text: str) -> int:
    """'a' is a number to Go. Raises ValueError for more than one character."""
    inside = unquote(f'"{text[1:-1]}"') if '"' not in text else text[1:-1]
    if len(inside) != 1:
        raise ValueError(f"malformed character constant: {text}")
    return ord(inside)


def number(text: str) -> int | float:
    """Decimal, hexadecimal, octal (0o17 or 017), binary, or floating point. Raises ValueError for another form."""
    digits = text.lstrip("+-")
    try:
        if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            return int(text, 8)
        return int(text, 0)
    except ValueError:
        pass
    try:
        return float(text.replace("_", ""))
    except ValueError:
        raise ValueError(f'illegal number syntax: "{text}"') from None
