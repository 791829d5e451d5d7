"""The order of services: each behind those that it depends on."""

from __future__ import annotations

from corten.compose.refusals import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def ordered(needs: Mapping[str, Iterable[str]]) -> list[str]:
    """Every key behind those of its needs that are keys. Raises Refused for a circle, which it names."""
    found: list[str] = []
    done = set[str]()
    for start in sorted(needs):
        path: list[str] = []
        waiting = [(start, False)]  # no recursion: a file may have a chain of thousands
        while waiting:
            name, behind = waiting.pop()
            if behind:
                path.pop()
                if name not in done:
                    done.add(name)
                    found.append(name)
                continue
            if name in done:
                continue
            if name in path:
                raise Refused(f"dependency cycle detected: {' -> '.join([*path[path.index(name) :], name])}")
            path.append(name)
            waiting.append((name, True))
            waiting += [(each, False) for each in sorted(needs[name], reverse=True) if each in needs]
    return found


def closure(needs: Mapping[str, Iterable[str]], names: Iterable[str]) -> set[str]:
    """`names` and all that they depend on."""
    found = set[str]()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in needs:
            found.add(name)
            waiting += needs[name]
    return found
