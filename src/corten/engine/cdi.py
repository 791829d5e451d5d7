"""CDI devices: the vendors' files, read when a container that asks for one is started."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from corten.errors import Conflict, CortenError, Invalid
from corten.plan import cdi
from corten.spec.cdi import DeviceName, Document, Edits, parse, parse_name
from corten.spec.docker.devices import DeviceRequest
from corten.spec.json import Json

log = logging.getLogger(__name__)

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_LARGEST = 4 << 20  # bytes of a file
_MOST = 1 << 17  # values in one, each alias counted with all that it stands for


class Devices:
    """Those of some directories; a later directory goes before an earlier one."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._found: dict[DeviceName, list[tuple[int, Document, str]]] = {}
        self._broken: list[str] = []
        for priority, directory in enumerate(directories):
            for path in _files(directory):
                self._read(path, priority)

    def _read(self, path: Path, priority: int) -> None:
        try:
            document = parse(_content(path))
        except (CortenError, OSError) as error:  # one vendor's file does not take away the others' devices
            self._broken.append(f"{path}: {error}")
            log.warning("CDI file %s cannot be used: %s", path, error)
            return
        for device in document.devices:
            self._found.setdefault(DeviceName(document.kind, device.name), []).append((priority, document, str(path)))

    def names(self) -> Iterable[DeviceName]:
        return self._found

    def edits(self, wanted: Iterable[DeviceName]) -> list[Edits]:
        """For these devices: each file's own once, behind it each device's. Raises Invalid, Conflict, Unsupported."""
        result: list[Edits] = []
        seen: set[str] = set()
        for name in dict.fromkeys(wanted):
            document, path = self._document(name)
            own = next(device.container_edits for device in document.devices if device.name == name.name)
            for edits, where in ((document.container_edits, f"CDI file {path}"), (own, f"CDI device {name}")):
                cdi.check(edits, where)
            if path not in seen:
                seen.add(path)
                result.append(document.container_edits)
            result.append(own)
        return result

    def _document(self, name: DeviceName) -> tuple[Document, str]:
        found = self._found.get(name)
        if not found:
            hint = f" ({'; '.join(self._broken)})" if self._broken else ""
            raise Invalid(f"CDI device injection failed: unresolvable CDI devices {name}{hint}")
        best = max(priority for priority, _, _ in found)
        of_best = [(document, path) for priority, document, path in found if priority == best]
        if len(of_best) > 1:
            raise Conflict(f"CDI device {name} is in {' and in '.join(sorted(path for _, path in of_best))}")
        return of_best[0]


def edits(directories: Sequence[str], requests: Sequence[DeviceRequest]) -> list[Edits]:
    """Of all devices that a container asks for. Reads the files. Raises Invalid besides."""
    devices = Devices(directories)
    wanted: list[DeviceName] = []
    for request in requests:
        wanted += cdi.names(request) if request.driver == cdi.DRIVER else cdi.gpu_names(request, devices.names())
    return devices.edits(wanted)


def edits_of_step(directories: Sequence[str], wanted: Sequence[tuple[str, bool]]) -> tuple[list[Edits], list[str]]:
    """Of devices by their names, and whether each is required: one that is not, and is not here, is among the names
    that are answered. Reads the files. Raises Invalid besides."""
    devices = Devices(directories)
    known = set(devices.names())
    names = {parse_name(text): required for text, required in wanted}
    absent = [name for name, required in names.items() if name not in known and not required]
    return devices.edits(name for name in names if name not in absent), [str(name) for name in absent]


def _files(directory: str) -> list[Path]:
    try:
        return sorted(path for path in Path(directory).iterdir() if path.suffix in (".json", ".yaml", ".yml"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _content(path: Path) -> Json:
    with open(_regular(path), "rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise Invalid(f"the file has more than {_LARGEST} bytes")
    try:
        content: Json = msgspec.json.decode(raw) if path.suffix == ".json" else _yaml(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid(str(error)) from None
    return content


def _regular(path: Path) -> int:
    """Open for reading; what a link leads to is looked at first: to open a device or a pipe may do anything."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise Invalid("it is no regular file")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def _yaml(raw: bytes) -> Json:
    from ruamel.yaml import YAML  # 40 ms, where there is such a file
    from ruamel.yaml.error import YAMLError

    try:
        reader = YAML(typ="safe", pure=True)
        reader.version = (1, 1)  # as Go's reader of these files: 0660 is octal
        content: Json = reader.load(raw)
    except YAMLError as error:
        raise Invalid(" ".join(str(error).split())) from None
    except (LookupError, ArithmeticError, TypeError, AttributeError) as error:  # of its conversions, `!!bool x` say
        raise Invalid(f"it is no YAML: {error!r}") from None
    _count(content)
    return content


def _count(content: object) -> None:
    """Raises Invalid when aliases make more of a file than `_MOST` values, or go in circles."""
    count, waiting = 0, [content]
    while waiting:
        value = waiting.pop()
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += len(inner)
        if count > _MOST:
            raise Invalid(f"the file has more than {_MOST} values")
        waiting += inner
