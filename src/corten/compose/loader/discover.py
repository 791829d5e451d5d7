"""Which files, which directory, which name: flags, variables, usual names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from corten.compose.document import Document
from corten.compose.errors import ComposeError
from corten.compose.loader.environ import variables_of
from corten.compose.loader.options import Options
from corten.compose.variables.template import BadTemplate, Interpolation, Missing
from corten.units.booleans import parse_bool

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)

Warn = Callable[[str], None]


class Found(msgspec.Struct, frozen=True):
    files: tuple[str, ...]
    """Absolute; "-" is standard input."""
    directory: str
    """Of the project, absolute."""
    environment: Mapping[str, str]
    env_files: tuple[str, ...]
    """Those that were asked for, as they were given."""
    profiles: tuple[str, ...]


def discover(options: Options, here: str, warn: Warn, local: Callable[[str], str] = str) -> Found:
    """`here` is the working directory; `local` fetches a file that is remote. Raises ComposeError."""
    directory = os.path.join(here, options.directory) if options.directory else ""
    environment = {**options.environ}
    environment.setdefault("PWD", here)
    given = options.env_files or tuple(each for each in options.environ.get("COMPOSE_ENV_FILES", "").split(",") if each)
    files = tuple(map(local, options.files))
    _add_variables(environment, given, _directory(directory, files, here), options, here, warn)
    if not files and "COMPOSE_FILE" in environment:
        files = _listed(environment, here, local)
    if not files:
        files = _usual(_directory(directory, files, here), warn)
    if not files:
        remedy = "make compose.yaml, or name a file with -f"
        raise ComposeError("no configuration file provided: not found", remedy=remedy)
    place = os.path.normpath(_directory(directory, files, here))
    _add_variables(environment, given, place, options, here, warn)
    profiles = options.profiles or tuple(each.strip() for each in environment.get("COMPOSE_PROFILES", "").split(","))
    absolute = tuple(each if each == "-" else os.path.normpath(os.path.join(here, each)) for each in files)
    return Found(absolute, place, environment, given, tuple(each for each in profiles if each))


def _directory(given: str, files: Sequence[str], here: str) -> str:
    if given:
        return given
    first = next((each for each in files if each != "-"), None)
    return here if first is None else os.path.dirname(os.path.join(here, first))


def _add_variables(
    environment: dict[str, str], given: Sequence[str], directory: str, options: Options, here: str, warn: Warn
) -> None:
    paths = [os.path.normpath(os.path.join(here, each)) for each in given]
    if not given:
        disabled = options.environ.get("COMPOSE_DISABLE_ENV_FILE")
        if disabled is not None:
            try:
                if parse_bool(disabled):
                    return
            except ValueError as error:
                raise ComposeError(str(error), remedy="set COMPOSE_DISABLE_ENV_FILE to true or false") from None
        usual = os.path.join(directory, ".env")
        paths = [usual] if os.path.exists(usual) and not os.path.isdir(usual) else []
    for name, value in variables_of(paths, environment, warn).items():
        environment.setdefault(name, value)


def _listed(environment: Mapping[str, str], here: str, local: Callable[[str], str]) -> tuple[str, ...]:
    separator = environment.get("COMPOSE_PATH_SEPARATOR") or ":"
    files = tuple(
        each if each == "-" else os.path.normpath(os.path.join(here, local(each)))
        for each in environment["COMPOSE_FILE"].split(separator)
    )
    for each in files:
        if each != "-" and not os.path.exists(each):
            raise ComposeError(f"stat {each}: no such file or directory", remedy="COMPOSE_FILE names it")
    return files


def _usual(directory: str, warn: Warn) -> tuple[str, ...]:
    """Of the directory or the nearest one above it that has any."""
    while True:
        found = _there(directory, NAMES)
        if found:
            if len(found) > 1:
                warn(f"Found multiple config files with supported names: {', '.join(found)}")
                warn(f"Using {found[0]}")
            overrides = _there(directory, OVERRIDES)
            if len(overrides) > 1:
                warn(f"Found multiple override files with supported names: {', '.join(overrides)}")
                warn(f"Using {overrides[0]}")
            return (found[0], *overrides[:1])
        above = os.path.dirname(directory)
        if above == directory:
            return ()
        directory = above


def _there(directory: str, names: Sequence[str]) -> list[str]:
    return [path for path in (os.path.join(directory, name) for name in names) if os.path.exists(path)]


# ------------------------------------------------------------------------------------------------------------- names

_OTHERS = re.compile(r"[^a-z0-9_-]")


def normalized_name(text: str) -> str:
    return _OTHERS.sub("", text.lower()).lstrip("_-")


def project_name(options: Options, found: Found, documents: Sequence[Document], warn: Warn) -> str:
    """-p, COMPOSE_PROJECT_NAME, `name` of the last file that has one, the directory's. Raises ComposeError."""
    given = options.name or found.environment.get("COMPOSE_PROJECT_NAME", "")
    if given:
        if normalized_name(given) != given:
            said = f'invalid project name "{given}": must consist only of lowercase alphanumeric characters, hyphens,'
            raise ComposeError(f"{said} and underscores as well as start with a letter or number")
        return given
    named = [_name(document) for document in documents if _name(document)]
    if not named:
        name = os.path.basename(found.directory)
        if os.path.basename(os.path.realpath(found.directory)) != name:
            warn(f'project has been loaded without an explicit name from a symlink. Using name "{name}"')
        return normalized_name(name)
    text = named[-1]
    if options.interpolate:
        text = _interpolated(text, found.environment, warn)
    return normalized_name(text) if options.normalize else text


def _name(document: Document) -> str:
    value = document.value.get("name") if isinstance(document.value, dict) else None
    return value if isinstance(value, str) else ""


def _interpolated(text: str, environment: Mapping[str, str], warn: Warn) -> str:
    def unset(name: str) -> None:
        warn(f'The "{name}" variable is not set. Defaulting to a blank string.')

    try:
        return Interpolation(environment.get, unset).text(text)
    except BadTemplate as error:
        said = "invalid interpolation format for name.\nYou may need to escape any $ with another $.\n"
        raise ComposeError(said + error.text, path="name") from None
    except Missing as error:
        raise ComposeError(f"error while interpolating name: {error}", path="name") from None
