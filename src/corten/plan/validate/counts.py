"""How many entries the lists and maps of a request may have.

The decoder takes 65,536 of everything; what is a mount, a rule, a descriptor or a lookup each is bounded here, because
a start does work for each. Records on disk are not checked: a container that an older version took goes on.
"""

from __future__ import annotations

from corten.errors import Invalid
from corten.spec.docker.struct import Struct

MOST = 1_000
#: Arguments, variables, labels and ports come in large numbers for good reasons.
LARGE = {
    "Cmd": 65_536,
    "Entrypoint": 65_536,
    "Env": 10_000,
    "ExposedPorts": 10_000,
    "Labels": 10_000,
    "PortBindings": 10_000,
    "PublishAdd": 10_000,
    "PublishRm": 10_000,
}


def check_counts(given: Struct, path: str = "") -> None:
    """Invalid for a list or map of `given`, or of a structure in it, that has too many entries."""
    for name, value in vars(given).items():
        key = given.FIELDS[name].key
        _check(value, path + key, LARGE.get(key, MOST))


def _check(value: object, path: str, most: int) -> None:
    if isinstance(value, Struct):
        check_counts(value, path + ".")
    elif isinstance(value, list | dict):
        if len(value) > most:
            raise Invalid(f"{path} has too many entries: {len(value)}, at most {most} are taken")
        for each in value if isinstance(value, list) else value.values():
            if not isinstance(each, str):
                _check(each, path, MOST)
