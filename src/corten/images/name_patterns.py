"""The `reference` filter of image lists: patterns of names, by the rules of Go's path.Match."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from corten.errors import Invalid
from corten.spec.reference import DEFAULT_DOMAIN, DEFAULT_NAMESPACE, parse

_LONGEST = 4096  # characters, of all patterns of a list


def named_like(patterns: Collection[str]) -> Callable[[str], bool]:
    """Whether a canonical name matches one of `patterns`, with or without its tag. Both are compared in their short
    form: `docker.io/library/x` is `x`, and `*/*/*` does not match it. Raises Invalid for what is no pattern."""
    if sum(map(len, patterns)) > _LONGEST:
        raise Invalid(f"patterns of a reference filter have at most {_LONGEST} characters")
    expressions = [_expression(pattern) for pattern in patterns]

    def named(name: str) -> bool:
        reference = parse(name)
        forms = (reference.familiar, reference.familiar_name)
        return any(expression.fullmatch(form) for form in forms for expression in expressions)

    return named


def _expression(pattern: str) -> re.Pattern[str]:
    from corten.spec.dockerfile import glob  # which few lists need

    try:
        return re.compile(glob.expression(glob.tokens_of(_short(pattern))), re.DOTALL)
    except ValueError as error:
        raise Invalid(str(error)) from error


def _short(pattern: str) -> str:
    """Without the registry and the namespace that a name without them has."""
    for domain in (f"{DEFAULT_DOMAIN}/", f"index.{DEFAULT_DOMAIN}/"):
        if pattern.startswith(domain):
            path = pattern.removeprefix(domain)
            return path.removeprefix(f"{DEFAULT_NAMESPACE}/") if path.count("/") == 1 else path
    return pattern
