"""URLs of http and https, as settings and requests name them."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_url(text: str) -> bool:
    """Whether it is an http:// or https:// URL of a host, in printable characters without a space."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return good and text.isprintable() and " " not in text


def completed(text: str) -> str:
    """The URL that `text` names: without a scheme it is an http:// one, as dockerd has it."""
    return text if "://" in text else f"http://{text}"
