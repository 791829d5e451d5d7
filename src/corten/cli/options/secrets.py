"""--secret of a container: NAME, or source=NAME[,target=FILE][,uid=N][,gid=N][,mode=0400]."""

from __future__ import annotations

from corten.spec.docker.secrets import StoredSecretMount
from corten.spec.docker.struct import UNSET

_KEYS = {"source": "source", "src": "source", "target": "target", "uid": "uid", "gid": "gid", "mode": "mode"}


def parse_secret(text: str) -> StoredSecretMount:
    """ValueError with what is wrong."""
    if "=" not in text:
        return StoredSecretMount(secret=text)
    given: dict[str, str] = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if key not in _KEYS or not equals:
            raise ValueError(f"invalid field '{word}': source=NAME, target=FILE, uid=N, gid=N and mode=0400 are known")
        given[_KEYS[key]] = value
    if not given.get("source"):
        raise ValueError("source is required")
    return StoredSecretMount(
        secret=given["source"],
        target=given.get("target") or UNSET,
        uid=given.get("uid") or UNSET,
        gid=given.get("gid") or UNSET,
        mode=_mode(given["mode"]) if "mode" in given else UNSET,
    )


def _mode(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"invalid mode '{text}': octal digits, as in 0400") from None
