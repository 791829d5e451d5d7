"""CDI devices: the vendors' files, read when a container that asks for one is started."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from corten.errors import Conflict, CortenError, Invalid
from corten.plan import cdi
from corten.spec.cdi import DeviceName, Document, Edits, parse
from corten.spec.docker.devices import DeviceRequest
from corten.spec.json import Json

log = logging.getLogger(__name__)

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
_LARGEST = 4 << 20  # bytes of a file


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


def _files(directory: str) -> list[Path]:
    try:
        return sorted(path for path in Path(directory).iterdir() if path.suffix in (".json", ".yaml", ".yml"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _content(path: Path) -> Json:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        raw = file.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        raise Invalid(f"the file has more than {_LARGEST} bytes")
    try:
        content: Json = msgspec.json.decode(raw) if path.suffix == ".json" else _yaml(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid(str(error)) from None
    return content


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
    return content
