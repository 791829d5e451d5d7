"""Debian's control syntax, which dpkg's database, copyright files and Python's metadata have in common: `Key: value`,
lines that go on beginning with a blank, empty lines between stanzas."""

from __future__ import annotations

from collections.abc import Collection, Iterator

Stanza = dict[str, list[str]]
_VALUES = 100  # of one key in one stanza


def stanzas(text: str, keys: Collection[str], fold: bool = True) -> Iterator[Stanza]:
    """The first lines of the values of these keys, stanza by stanza; stanzas without any are left out. `fold`: keys are
    the same in any case of letters, and `keys` are in lower case."""
    found: Stanza = {}
    at, size = 0, len(text)
    while at < size:  # not splitlines: all lines at once would be a hundred times the text
        end = text.find("\n", at)
        end = size if end < 0 else end
        line, at = text[at:end].rstrip("\r"), end + 1
        if not line.strip():
            if found:
                yield found
            found = {}
        elif line[0] not in " \t":
            key, colon, value = line.partition(":")
            if colon and (known := key.lower() if fold else key) in keys:
                values = found.setdefault(known, [])
                if len(values) < _VALUES:
                    values.append(value.strip())
    if found:
        yield found


def first(stanza: Stanza, key: str) -> str:
    """Its first value; "" when there is none."""
    return next(iter(stanza.get(key, ())), "")
