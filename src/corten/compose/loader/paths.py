"""Relative paths to absolute ones; of a file that is extended or included, to ones from the project's directory."""

from __future__ import annotations

import os

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.gopaths import expanded, joined
from corten.compose.loader.remote import is_remote
from corten.compose.loader.rules import Rules
from corten.compose.loader.walk import Change, changed

_URLS = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


def resolved(tree: Tree, directory: str, home: str) -> Tree:
    """The tree, its paths from `directory`; ~ is `home`. Raises ComposeError with the path."""
    return changed(tree, _table(_Paths(directory, home)))


class _Paths:
    def __init__(self, directory: str, home: str) -> None:
        self._directory = directory
        self._home = home

    def path(self, value: Value, path: str) -> Value:
        if isinstance(value, list):
            return [self.path(each, path) for each in value]
        if not isinstance(value, str) or not value:
            return value
        place = expanded(value, self._home)
        return place if place.startswith("/") else joined(self._directory, place)

    def file(self, value: Value, path: str) -> Value:
        """Also an empty one is a path: the directory."""
        if not isinstance(value, str):
            return value
        place = expanded(value, self._home)
        return place if place.startswith("/") or _of_windows(place) else joined(self._directory, place)

    def context(self, value: Value, path: str) -> Value:
        if isinstance(value, str) and ("://" in value or value.startswith(("service:", *_URLS))):
            return value
        return self.path(value, path)

    def extended(self, value: Value, path: str) -> Value:
        return value if isinstance(value, str) and is_remote(value) else self.path(value, path)

    def watched(self, value: Value, path: str) -> Value:
        found = self.path(value, path)
        return _without_links(found) if isinstance(found, str) else found

    def volume(self, value: Value, path: str) -> Value:
        if not isinstance(value, dict) or value.get("type") != "bind":
            return value
        if "source" not in value:
            said = 'invalid mount config for type "bind": field Source must not be empty'
            raise ComposeError(said, path=path, remedy="give a source")
        value["source"] = self.file(value["source"], path)
        return value

    def bind(self, value: Value, path: str) -> Value:
        """A volume of the local driver that is a directory of the host."""
        options = value.get("driver_opts") if isinstance(value, dict) else None
        local = isinstance(value, dict) and value.get("driver") == "local"
        if local and isinstance(options, dict) and options.get("o") == "bind" and "device" in options:
            options["device"] = self.file(options["device"], path)
        return value


def _of_windows(path: str) -> bool:
    """C:\\ or C:/, or \\\\host: taken as they are."""
    drive = path[:1].isascii() and path[:1].isalpha() and path[1:2] == ":"
    return path.startswith("\\\\") or (drive and path[2:3] in ("\\", "/"))


def _without_links(path: str) -> str:
    """Compose follows the links of what is watched; a path that is not there stays."""
    return os.path.realpath(path) if os.path.exists(path) else path


def _table(paths: _Paths) -> Rules[Change]:
    return Rules(
        {
            "services.*.build.context": paths.context,
            "services.*.build.additional_contexts.*": paths.context,
            "services.*.build.ssh.*": paths.file,
            "services.*.env_file.*.path": paths.path,
            "services.*.label_file.*": paths.path,
            "services.*.extends.file": paths.extended,
            "services.*.develop.watch.*.path": paths.watched,
            "services.*.volumes.*": paths.volume,
            "configs.*.file": paths.file,
            "secrets.*.file": paths.file,
            "volumes.*": paths.bind,
        }
    )
