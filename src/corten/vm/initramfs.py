"""A guest's first file system: this machine's Python, our package as far as the guest needs it, and kernel modules.

    contents = collect(kernel)           # what goes in: a list of files of this machine
    contents.key                         # changes with any of them
    write(contents, file)                # the archive, byte for byte the same for the same files

What the guest's program imports is found out by importing it: an interpreter of its own loads `corten.guest.init` and
says which modules it has then and which libraries are mapped (proc_pid_maps(5)). What is imported later, inside of
functions, has to be named by `corten.guest.init` itself. Python's modules go in compiled, because compiling them is
what an emulated processor would be busy with first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import marshal
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from corten.errors import Failed
from corten.vm import foreign, kernels
from corten.vm.cpio import Archive
from corten.vm.kernels import Kernel

MODULES = (
    "virtio_pci virtio_console virtio_blk virtio_net virtio_rng virtio_balloon virtio_mem "
    "erofs overlay fuse virtiofs ext4"
).split()
MODULE_LIST = "/modules/order"  # names of files in /modules, one a line, in the order in which they can be loaded
PROGRAM = "corten.guest.init"
PACKAGES = "/lib/corten"  # where our modules are in the guest

_INIT = "#!{python} -ISB\nimport sys\nsys.path.append({packages!r})\nfrom {program} import main\nmain()\n"
_DIRECTORIES = ("dev", "etc", "proc", "root", "run", "sys", "tmp")
_LISTING = """
import encodings.ascii, encodings.latin_1, importlib, json, sys, warnings
sys.path[:0] = json.loads(sys.argv[1])
importlib.import_module(sys.argv[2])
specs = [module.__spec__ for module in list(sys.modules.values()) if getattr(module, "__spec__", None)]
with open("/proc/self/maps") as maps:
    mapped = sorted({line.split(None, 5)[5].strip() for line in maps if "/" in line})
print(json.dumps({"modules": sorted({(spec.name, spec.origin) for spec in specs if spec.has_location and spec.origin}),
                  "extensions": sorted({spec.name for spec in specs if not str(spec.origin).endswith(".py")}),
                  "packages": [spec.name for spec in specs if spec.submodule_search_locations is not None],
                  "mapped": mapped}))
"""


class Source(NamedTuple):
    """A file of this machine, and where it is in the guest."""

    path: str
    file: Path


class Contents(NamedTuple):
    """All that `write` reads."""

    python: str
    library: str  # where its standard library is
    binaries: tuple[Source, ...]  # the interpreter, and the libraries that it has mapped
    links: tuple[tuple[str, str], ...]  # further names of these, and what they lead to
    code: tuple[Source, ...]  # modules to be compiled
    modules: tuple[Source, ...]  # the kernel's, in order
    program: str
    key: str


def collect(
    kernel: Kernel, program: str = PROGRAM, packages: Iterable[Path] = (), architecture: str = os.uname().machine
) -> Contents:
    """What a guest that runs `program` (its function `main`, as process 1) needs beside `kernel`. `packages` are
    directories in which it is looked for before our own package's. Takes a tenth of a second; Failed when the program
    cannot be imported, OSError; for another `architecture` than the host's also what `foreign.python` raises."""
    own = Path(__file__).parents[2]
    listed = _listed(os.path.realpath(sys.executable), [*map(str, packages), str(own)], program)
    if architecture == os.uname().machine:
        python, library, binaries, links, code = _host(listed)
    else:
        python, library, binaries, links, code = _foreign(listed, kernel.directory)
    files = kernels.module_files(kernel)
    modules = tuple(
        Source(f"/modules/{name}.ko", files[name]) for name in kernels.in_order(files, MODULES) if name in files
    )
    key = _key((*binaries, *code, *modules, Source("/init", Path(__file__))), f"{program} {links}")
    return Contents(python, library, binaries, links, code, modules, program, key)


_Interpreter = tuple[str, str, tuple[Source, ...], tuple[tuple[str, str], ...], tuple[Source, ...]]


def _host(listed: dict[str, Any]) -> _Interpreter:
    """This one, with what the program has loaded."""
    python, library = os.path.realpath(sys.executable), _standard_library()
    binaries = [Path(os.path.realpath(path)) for path in listed["mapped"] if ".so" in path or path == python]
    code = [Source(f"{library}/os.pyc", Path(os.__file__))]  # by which Python knows the directory
    code += [Source(_place(name, name in listed["packages"], file, library), Path(file))
             for name, file in listed["modules"] if file.endswith(".py")]  # fmt: skip
    links = tuple(link for binary in binaries for link in _names(binary))
    return python, library, tuple(Source(str(binary), binary) for binary in binaries), links, tuple(code)


def _foreign(listed: dict[str, Any], directory: Path) -> _Interpreter:
    """That of another architecture: its own standard library, our own modules."""
    ours = {(name, file) for name, file in listed["modules"] if file.endswith(".py")}
    of_python = {(name, file) for name, file in ours if _is_standard(file)}
    names = {os.path.relpath(file, _standard_library()): (name, file) for name, file in of_python}
    found = foreign.python(directory, {"os.py", *names}, listed["extensions"])
    code = [Source(f"{found.library}/{module}c", file) for module, file in sorted(found.modules.items())]
    code += [Source(_place(name, name in listed["packages"], file, found.library), Path(file))
             for name, file in sorted(ours - of_python)]  # fmt: skip
    binaries = tuple(Source(path, file) for path, file in sorted(found.binaries.items()))
    return found.program, found.library, binaries, found.links, tuple(code)


def write(contents: Contents, out: BinaryIO) -> None:
    """OSError, Unsupported for modules in a compression that this Python lacks."""
    archive = Archive(out)
    for directory in _DIRECTORIES:
        archive.directory(directory)
    archive.device("/dev/console", 5, 1)
    archive.device("/dev/null", 1, 3)
    archive.directory(f"{contents.library}/lib-dynload")
    for source in contents.binaries:
        archive.file(source.path, source.file.read_bytes(), 0o755)
    for name, target in contents.links:
        archive.link(name, target)
    for source in contents.code:
        archive.file(source.path, _compiled(source))
    for source in contents.modules:
        archive.file(source.path, kernels.content(source.file))
    names = [os.path.basename(source.path) for source in contents.modules]
    archive.file(MODULE_LIST, "".join(f"{name}\n" for name in names).encode())
    text = _INIT.format(python=contents.python, packages=PACKAGES, program=contents.program)
    archive.file("/init", text.encode(), 0o755)
    archive.end()


def _listed(python: str, path: list[str], program: str) -> dict[str, Any]:
    command = [python, "-ISB", "-c", _LISTING, json.dumps(path), program]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"cannot import {program} for guests: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    listed: dict[str, Any] = json.loads(done.stdout)
    return listed


def _names(binary: Path) -> list[tuple[str, str]]:
    """The links to a library that are beside it, or where an interpreter of programs is: it is looked for by those."""
    found = []
    for directory in dict.fromkeys((str(binary.parent), "/lib64", "/lib")):
        if ".so" in binary.name and os.path.isdir(directory):
            stem = binary.name.partition(".so")[0]
            names = [f"{directory}/{name}" for name in sorted(os.listdir(directory)) if name.startswith(f"{stem}.so")]
            found += [(name, str(binary)) for name in names if os.path.realpath(name) == str(binary) != name]
    return found


def _place(name: str, is_package: bool, file: str, library: str) -> str:
    """A compiled module stands where its source would, which is how Python finds those without one."""
    directory = library if _is_standard(file) else PACKAGES
    return f"{directory}/{name.replace('.', '/')}{'/__init__' if is_package else ''}.pyc"


def _is_standard(file: str) -> bool:
    return file.startswith(f"{_standard_library()}/")


def _standard_library() -> str:
    return os.path.dirname(os.path.realpath(os.__file__))


def _compiled(source: Source) -> bytes:
    """Without assertions and docstrings, and named as it is in the guest."""
    shown = source.path.removesuffix("c")
    code = compile(source.file.read_bytes(), shown, "exec", dont_inherit=True, optimize=2)
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


def _key(sources: Iterable[Source], more: str) -> str:
    """Of what is in the files, as far as the file systems say: sizes and times of change."""
    digest = hashlib.sha256(f"{sys.version.split()[0]} {more}\n".encode())
    for source in sorted(set(sources)):
        status = source.file.stat()
        digest.update(f"{source.path} {source.file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
