"""JSON by CPython's own accelerator, without the `json` package around it.

`import json` brings re, enum and functools along, 4 of the 20 ms until a command's first request. The parts used here
are those that `json.decoder` and `json.encoder` are made of; where they are missing, `json` itself does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHITE = " \t\n\r"


def _finite(text: str) -> float:
    """Raises ValueError for a number that is none of JSON's (RFC 8259), or beyond float's range, as Go's does."""
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text[:40]} is no number of JSON")
    return value


class _Context:
    """What the scanner asks its decoder for (json.decoder.JSONDecoder's attributes)."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_finite)
    memo: dict[str, str] = {}


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} cannot be said in JSON")


_scan: Any = None
_encode: Any = None
_quote: Any = None
try:
    import _json

    _scan = _json.make_scanner(_Context)  # type: ignore[arg-type]
    _encode = _json.make_encoder(None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True)
    _quote = _json.encode_basestring
except (ImportError, AttributeError, TypeError):
    import json


def loads(data: bytes | str) -> Any:
    """One JSON document, blanks around it allowed; what is no Unicode becomes U+FFFD, as Go has it.

    Raises ValueError for anything else.
    """
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        value = _loaded(text)
        return _whole(value) if "\\u" in text and ("\\ud" in text or "\\uD" in text) else value
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(value: Any) -> Any:
    """Without lone surrogates, which cannot be printed."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    return value


def _loaded(text: str) -> Any:
    if _scan is None:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    text = text.strip(WHITE)
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"expecting a value at character {stop.value}") from None
    except SystemError:  # it looks for its class of errors in a module that is not loaded, and has none (CPython 3.11)
        return _refused(text)
    if end != len(text):
        raise ValueError(f"extra data at character {end}")
    return value


def _refused(text: str) -> Any:
    import json

    return json.loads(text)


def dumps(value: Any) -> str:
    """Without blanks, in ASCII. Raises TypeError for what has no JSON."""
    if _scan is None:
        return json.dumps(value, separators=(",", ":"))
    return "".join(_encode(value, 0))


def quote(text: str) -> str:
    """A JSON string that keeps its letters: Go's %q of ordinary text."""
    if _quote is None:
        return json.dumps(text, ensure_ascii=False)
    quoted: str = _quote(text)
    return quoted
