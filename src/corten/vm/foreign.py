"""A Python of another architecture, for guests of that: unpacked beside the kernel, as Debian's packages have it.

    DIRECTORY/usr/bin/python3.N
    DIRECTORY/usr/lib/python3.N/**.py, lib-dynload/NAME.*.so
    DIRECTORY/[usr/]lib/*/LIBRARY.so.N

It has to be of the host's version of Python: that compiles its modules, and finds out which are needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from corten.errors import NotFound, Unsupported
from corten.vm import elf

_LIBRARIES = ("lib", "usr/lib", "lib64", "usr/lib64")
_MOST_LINKS = 16


class Python(NamedTuple):
    """Paths in the guest, which are those in `directory`. `binaries` are files of the host by their path, `links` lead
    to them, `modules` are of the standard library, by their name in it (json/decoder.py)."""

    program: str
    library: str
    binaries: dict[str, Path]
    links: tuple[tuple[str, str], ...]
    modules: dict[str, Path]


def python(directory: Path, modules: Iterable[str], extensions: Iterable[str]) -> Python:
    """The one in `directory`, as far as a program needs it that has `modules` (names as in `Python`) and `extensions`
    (modules that are no Python, by their names; those that are part of the interpreter need no file). NotFound,
    Unsupported."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program, library = f"/usr/bin/{name}", f"/usr/lib/{name}"
    if not _file(directory, program).exists():
        raise NotFound(
            f"no {name} in {directory}, for guests of its architecture: scripts/guest-kernel of the source fetches one"
        )
    found = {module: _file(directory, f"{library}/{module}") for module in modules}
    if missing := [module for module, file in found.items() if not file.is_file()]:
        raise Unsupported(f"{name} in {directory} has no {missing[0]}: unpack its standard library as well")
    dynamic = _extensions(directory, f"{library}/lib-dynload", set(extensions))
    binaries, links = _closure(directory, [program, *dynamic])
    return Python(program, library, binaries, tuple(sorted(links.items())), found)


def _extensions(directory: Path, place: str, wanted: set[str]) -> Iterator[str]:
    try:
        names = sorted(os.listdir(_file(directory, place)))
    except FileNotFoundError:
        return
    for name in names:
        if name.partition(".")[0] in wanted and name.endswith(".so"):
            yield f"{place}/{name}"


def _closure(directory: Path, programs: list[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """These and the libraries that they need, each once; what is a link leads to its file."""
    binaries: dict[str, Path] = {}
    links: dict[str, str] = {}
    waiting = list(programs)
    while waiting:
        path = waiting.pop()
        real = _real(directory, path)
        if real != path:
            links[path] = real
        if real in binaries:
            continue
        binaries[real] = _file(directory, real)
        interpreter, libraries = elf.needs(binaries[real].read_bytes())
        waiting += [interpreter] if interpreter else []
        waiting += [_library(directory, library) for library in libraries]
    return binaries, links


def _library(directory: Path, name: str) -> str:
    for place in _LIBRARIES:
        parent = _file(directory, f"/{place}")
        below = sorted(child.name for child in parent.iterdir() if child.is_dir()) if parent.is_dir() else []
        for middle in ("", *(f"{child}/" for child in below)):
            if os.path.lexists(_file(directory, path := f"/{place}/{middle}{name}")):
                return path
    raise Unsupported(f"{directory} has no {name}, which its Python needs: unpack the package that has it")


def _real(directory: Path, path: str) -> str:
    """Links are followed as in the guest: `directory` is their root."""
    for _ in range(_MOST_LINKS):
        file = _file(directory, path)
        if not file.is_symlink():
            return path
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(file)))
    raise Unsupported(f"{directory}{path} is a link without an end")


def _file(directory: Path, path: str) -> Path:
    return directory / path.lstrip("/")
