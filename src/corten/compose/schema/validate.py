"""A tree against the shapes: the most telling of what does not fit, in Compose's words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from corten.compose.document import Tree, Value
from corten.compose.document.scalars import Date
from corten.compose.errors import ComposeError
from corten.compose.schema.project import PROJECT
from corten.compose.schema.shapes import Shape

Path = tuple[str, ...]


class Misfit(msgspec.Struct, frozen=True):
    """`weight` is how far down it was found: the deepest says most about what was meant."""

    path: Path
    words: str
    weight: int
    remedy: str = ""
    key: str = ""


def validate(tree: Tree) -> None:
    """Raises ComposeError for what fits least, with its path and what was probably meant."""
    worst: Misfit | None = None
    for misfit in misfits(tree, PROJECT, ()):
        if worst is None or misfit.weight > worst.weight:
            worst = misfit
    if worst is not None:
        path = ".".join((*worst.path, worst.key) if worst.key else worst.path)
        message = f"{'.'.join(worst.path)} {worst.words}".lstrip() if worst.path else f" {worst.words}"
        raise ComposeError(message.strip(), path=path, remedy=worst.remedy)


def misfits(value: Value, shape: Shape, path: Path) -> Iterator[Misfit]:
    if shape.types and not any(_is(value, each) for each in shape.types):
        yield Misfit(path, f"must be a {_readable(shape.types)}", len(path), _quotes(value, shape.types))
        return
    if shape.choices:
        yield from _choices(value, shape, path)
    if isinstance(value, dict):
        yield from _mapping(value, shape, path)
    elif isinstance(value, list):
        yield from _list(value, shape, path)
    else:
        yield from _scalar(value, shape, path)


def _choices(value: Value, shape: Shape, path: Path) -> Iterator[Misfit]:
    found: list[Misfit] = []
    fitting: list[int] = []
    for at, each in enumerate(shape.choices):
        wrong = list(misfits(value, each, path))
        found += wrong
        if not wrong:
            fitting.append(at)
    if not fitting:
        yield from found
    elif len(fitting) > 1:
        yield Misfit(path, f"oneOf failed, subschemas {fitting[0]}, {fitting[1]} matched", len(path))


def _mapping(value: Tree, shape: Shape, path: Path) -> Iterator[Misfit]:
    missing = [f"'{key}'" for key in shape.required if key not in value]
    if missing:
        yield Misfit(path, f"missing propert{'y' if len(missing) == 1 else 'ies'} {', '.join(missing)}", len(path))
    unknown: list[str] = []
    for key, each in value.items():
        fitting = _shapes(key, shape)
        for one in fitting:
            yield from misfits(each, one, (*path, key))
        if not fitting and shape.closed and not (shape.extended and key.startswith("x-")):
            unknown.append(key)
    if unknown:
        names = ", ".join(f"'{key}'" for key in unknown)
        import difflib

        near = difflib.get_close_matches(unknown[0], shape.named, 1)
        remedy = f"did you mean {near[0]}?" if near else ""
        yield Misfit(path, f"additional properties {names} not allowed", len(path) + 1, remedy, unknown[0])


def _shapes(key: str, shape: Shape) -> list[Shape]:
    found = [shape.named[key]] if key in shape.named else []
    return found + [each for pattern, each in shape.patterned if pattern.search(key)]


def _list(value: list[Value], shape: Shape, path: Path) -> Iterator[Misfit]:
    if shape.unique:
        seen: dict[str, int] = {}
        for at, each in enumerate(value):
            first = seen.setdefault(_identity(each), at)
            if first != at:
                yield Misfit(path, f"items at {first} and {at} are equal", len(path), "remove one", str(at))
                break
    if shape.items is not None:
        for at, each in enumerate(value):
            yield from misfits(each, shape.items, (*path, str(at)))


def _identity(value: Value) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _scalar(value: Value, shape: Shape, path: Path) -> Iterator[Misfit]:
    if shape.values and value not in shape.values:
        allowed = ", ".join(f"'{each}'" for each in shape.values)
        one = f"value must be {allowed}" if len(shape.values) == 1 else f"value must be one of {allowed}"
        yield Misfit(path, one, len(path))
    if isinstance(value, str) and shape.pattern is not None and not shape.pattern.search(value):
        yield Misfit(path, f"'{value}' does not match pattern '{shape.pattern.pattern}'", len(path))
    if isinstance(value, float) and not math.isfinite(value) and "boolean" not in shape.types:  # those become texts
        yield Misfit(path, "must be a finite number", len(path))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if shape.least is not None and value < shape.least:
            yield Misfit(path, f"must be greater than or equal to {shape.least}", len(path))
        if shape.most is not None and value > shape.most:
            yield Misfit(path, f"must be less than or equal to {shape.most}", len(path))


def _is(value: Value, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str) and not isinstance(value, Date)
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            return whole or (isinstance(value, int) and not isinstance(value, bool))
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool)


def _readable(types: tuple[str, ...]) -> str:
    names = ["mapping" if each == "object" else each for each in types]
    if len(names) == 1:
        return names[0]
    names.sort()
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _quotes(value: Value, types: tuple[str, ...]) -> str:
    if "string" in types and isinstance(value, int | float | Date):
        return "write it in quotes"
    if types == ("array",) and isinstance(value, str):
        return "write it as a list: [...]"
    return ""
