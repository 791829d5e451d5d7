"""Options of a tmpfs that a user asks for: which are known, and which undo which."""

from __future__ import annotations

from collections.abc import Iterable

from corten.errors import Invalid

_DATA = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})

#: Words of one tuple cancel one another: the last one said holds.
_RIVALS = (
    ("ro", "rw"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("sync", "async"),
    ("dirsync",),
    ("remount",),
    ("mand", "nomand"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
    ("bind",),
    ("rbind",),
    ("relatime", "norelatime"),
    ("strictatime", "nostrictatime"),
    ("private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable"),
)
_FLAG = {word: rivals[0] for rivals in _RIVALS for word in rivals}


def merge_options(words: Iterable[str]) -> list[str]:
    """The words without repetitions and without those that a later one undoes. Raises Invalid for an unknown word."""
    kept: dict[str, str] = {}
    for word in words:
        if word == "defaults":
            continue
        key = _key(word)
        kept.pop(key, None)
        kept[key] = word
    return list(kept.values())


def _key(word: str) -> str:
    flag = _FLAG.get(word)
    if flag is not None:
        return flag
    name, equals, value = word.partition("=")
    if equals and value and name in _DATA:
        return name
    shown = f'"{name}" "{value}"' if equals else f'"{word}"'
    raise Invalid(f"invalid tmpfs option [{shown}]")
