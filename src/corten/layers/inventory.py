"""What package managers know of a tree: dpkg, apk, rpm, and by a walk over all of it pip and npm.

The tree may be hostile: files are read through `kernel.paths` up to a size, the walk does not recurse and follows no
link, and what is found is bounded in number and bytes. A database that cannot be read is named, and is no error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from corten.kernel import paths
from corten.layers import tree
from corten.layers.limits import LONGEST_PATH, quoted
from corten.spec import sqlite
from corten.spec.packages import apk, dpkg, npm, python, rpm
from corten.spec.packages.package import Distribution, Inventory, Package, distribution

_DATABASE = 32 << 20  # bytes of a database in text
_SMALL = 1 << 20  # of any other file
_LOG = 64 << 20  # of a write-ahead log
_WALKED = 5_000_000  # things in the tree
_MOST = 50_000  # packages
_BYTES = 32 << 20  # of all their texts
_READ = 512 << 20  # bytes of all files together
_NOTES = 100

_RELEASES = ("etc/os-release", "usr/lib/os-release")
_DPKG, _DPKG_PARTS, _COPYRIGHT = "var/lib/dpkg/status", "var/lib/dpkg/status.d", "usr/share/doc/{}/copyright"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_RPM = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
_RPM_OTHERS = {"Packages": "Berkeley DB", "Packages.db": "ndb"}
_PYTHON = (b"site-packages", b"dist-packages")
_NODE = b"node_modules"


def inventory(top: int) -> Inventory:
    """Of the tree at this descriptor, which is a mount of its own."""
    looking = _Looking(top)
    release = looking.distribution()
    found, size = set[Package](), 0
    for package in looking.all():
        size += sum(map(len, package))
        if len(found) >= _MOST or size > _BYTES:
            looking.note(f"there are more than {len(found)} packages: the others are left out")
            break
        found.add(package)
    return Inventory(release, sorted(found), looking.unread)


class _Looking:
    def __init__(self, top: int) -> None:
        self._top = top
        self._left = _READ
        self.unread: list[str] = []

    def note(self, text: str) -> None:
        if len(self.unread) < _NOTES:
            self.unread.append(text)

    def distribution(self) -> Distribution:
        for path in _RELEASES:
            if text := self._text(path, _SMALL):
                return distribution(text)
        return Distribution()

    def all(self) -> Iterator[Package]:
        yield from self._dpkg()
        for path in self._each_once(_APK):
            yield from apk.installed(self._text(path, _DATABASE), path)
        for path in self._each_once(_RPM):
            yield from self._guarded(path, self._rpm)
        yield from self._walk()

    # ---------------------------------------------------------------------------------------------------- databases

    def _dpkg(self) -> Iterator[Package]:
        places = [_DPKG, *(f"{_DPKG_PARTS}/{name}" for name in self._names(_DPKG_PARTS))]
        for place in places:
            if place.endswith(".md5sums"):
                continue
            for package in dpkg.status(self._text(place, _DATABASE), place):
                said = "" if "/" in package.name else self._text(_COPYRIGHT.format(package.name), _SMALL)
                yield package._replace(license=dpkg.licenses(said))

    def _rpm(self, directory: str) -> Iterator[Package]:
        for name, kind in _RPM_OTHERS.items():
            if self._is_there(f"{directory}/{name}"):
                self.note(f"{directory}/{name}: a database of rpm in the form {kind}, which is not read")
        path = f"{directory}/rpmdb.sqlite"
        if not self._is_there(path):
            return
        log = self._read(self._top, os.fsencode(f"{path}-wal"), _LOG, os.fsencode(path))
        fd = paths.open_file(self._top, path)
        try:
            database = sqlite.Database(
                lambda at, size: self._piece(fd, at, size), os.fstat(fd).st_size, sqlite.logged(log)
            )
            for _, values in database.rows("Packages"):
                blob = values[1] if len(values) > 1 else None
                if isinstance(blob, bytes) and (package := rpm.header(blob, path)) is not None:
                    yield package
        finally:
            os.close(fd)

    def _guarded(self, path: str, read: Callable[[str], Iterable[Package]]) -> Iterator[Package]:
        """What is found until something is wrong, which is noted."""
        try:
            yield from read(path)
        except (OSError, ValueError) as error:
            self.note(f"{path}: {error}")

    # --------------------------------------------------------------------------------------------------------- walk

    def _walk(self) -> Iterator[Package]:
        for number, found in enumerate(tree.walk(self._top, LONGEST_PATH)):
            if number >= _WALKED:
                self.note(f"of the tree only {_WALKED} files were looked at for packages of pip and npm")
                return
            if found.name == b"package.json":
                yield from self._npm(found)
            elif found.name.endswith((b".dist-info", b".egg-info")):
                yield from self._python(found)

    def _npm(self, found: tree.Found) -> Iterator[Package]:
        if not _of_node(found.path.split(b"/")[:-1]):
            return
        if stat.S_ISREG(found.status.st_mode):
            package = npm.manifest(self._in(found.dirfd, found.name, found.path), _shown(found.path))
            if package is not None:
                yield package

    def _python(self, found: tree.Found) -> Iterator[Package]:
        if found.path.split(b"/")[-2:-1] not in ([name] for name in _PYTHON):
            return
        name = found.name
        if stat.S_ISDIR(found.status.st_mode):
            name += b"/METADATA" if name.endswith(b".dist-info") else b"/PKG-INFO"
        text = self._in(found.dirfd, name, found.path).decode("utf-8", "replace")
        package = python.metadata(text, _shown(found.path))
        if package is not None:
            yield package

    # -------------------------------------------------------------------------------------------------------- files

    def _in(self, directory: int, name: bytes, path: bytes) -> bytes:
        """A file of a directory of the walk."""
        return self._read(directory, name, _SMALL, path)

    def _text(self, path: str, most: int) -> str:
        return self._read(self._top, os.fsencode(path), most, os.fsencode(path)).decode("utf-8", "replace")

    def _read(self, directory: int, name: bytes, most: int, path: bytes) -> bytes:
        """Empty when there is no such file, or it cannot be read."""
        try:
            data = paths.read_small(directory, name, min(most, self._left))
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            self.note(f"{quoted(path)}: {os.strerror(error.errno or 0)}")
            return b""
        self._left -= len(data)
        return data

    def _piece(self, fd: int, at: int, size: int) -> bytes:
        """Raises ValueError when too much has been read."""
        if size > self._left:
            raise ValueError(f"{_READ} bytes of all files are read at most")
        self._left -= size
        return os.pread(fd, size, at)

    def _names(self, path: str) -> list[str]:
        try:
            fd = paths.open_in(self._top, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _is_there(self, path: str) -> bool:
        return self._identity(path) is not None

    def _identity(self, path: str) -> tuple[int, int] | None:
        try:
            fd = paths.open_in(self._top, path)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            return status.st_dev, status.st_ino
        finally:
            os.close(fd)

    def _each_once(self, names: Iterable[str]) -> Iterator[str]:
        """Those that are there; two names of one thing are one."""
        seen = set()
        for name in names:
            identity = self._identity(name)
            if identity is not None and identity not in seen:
                seen.add(identity)
                yield name


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _of_node(directories: list[bytes]) -> bool:
    """Whether the last of these is node_modules/NAME or node_modules/@SCOPE/NAME."""
    if directories[-2:-1] and directories[-2].startswith(b"@"):
        directories = [*directories[:-2], directories[-1]]
    return directories[-2:-1] == [_NODE] and not directories[-1].startswith((b".", b"@"))
