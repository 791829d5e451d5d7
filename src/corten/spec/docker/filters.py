"""Filters as Docker's list calls take them: each key with a set of values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from corten.errors import Invalid
from corten.spec.docker import expressions


class Filters(Mapping[str, frozenset[str]]):
    """Values by key; a key that was not given is not in it."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Iterable[str]] | None = None) -> None:
        self._values = {key: frozenset(items) for key, items in (values or {}).items() if items}

    def __getitem__(self, key: str) -> frozenset[str]:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def check(self, allowed: Collection[str]) -> None:
        """Raises Invalid, in Docker's words, when a key is none of `allowed`."""
        for key in self:
            if key not in allowed:
                raise Invalid(f"invalid filter '{key}'")

    def one(self, key: str) -> str | None:
        """Some value of `key`; None when there is none."""
        return next(iter(sorted(self._values.get(key, ()))), None)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean. Raises Invalid for other words, and for both at once."""
        values = {_BOOLEANS.get(value.lower()) for value in self._values.get(key, ())}
        if not values:
            return default
        if None in values or len(values) > 1:
            raise Invalid(f"invalid filter '{key}=[{' '.join(sorted(self._values[key]))}]'")
        return True in values

    def allows(self, key: str, value: str) -> bool:
        """No such filter, or `value` is one of its values."""
        return key not in self._values or value in self._values[key]

    def pattern(self, key: str) -> Callable[[str], bool]:
        """Whether a text is one of the values of `key`, or one of them, as a regular expression, is found in it. What
        is no expression is only itself, as with Docker. Everything matches when there is no such filter.

        Raises Invalid, now or in a later call, for what takes too long: see `expressions.matcher`."""
        if key not in self._values:
            return lambda text: True
        return expressions.matcher(key, self._values[key])

    def match_labels(self, key: str, labels: Mapping[str, str]) -> bool:
        """Every "name" or "name=value" of filter `key` is in `labels`."""
        return all(_labelled(wanted, labels) for wanted in self._values.get(key, ()))

    def excludes_labels(self, key: str, labels: Mapping[str, str]) -> bool:
        """One of the labels of a negative filter ("label!") is there."""
        return any(_labelled(unwanted, labels) for unwanted in self._values.get(key, ()))


_BOOLEANS = {"1": True, "true": True, "t": True, "0": False, "false": False, "f": False}


def _labelled(wanted: str, labels: Mapping[str, str]) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)
