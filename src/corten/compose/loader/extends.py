"""`extends`: a service is merged over another one, of this or another file.

A base of another file is interpolated, has long forms and paths from the project's directory before it is merged.
"""

from __future__ import annotations

from collections.abc import Callable

from corten.compose.document import Document, Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.loading import Loading, Scope
from corten.compose.loader.merge import merged_service
from corten.compose.loader.paths import resolved
from corten.compose.loader.reset import remove

Resets = tuple[tuple[str, ...], ...]
Load = Callable[[str, Scope], "tuple[Tree, Resets]"]
"""Reads a file (absolute path) in a scope that is not whole: its tree and what it resets."""

DEPTH = 50  # services that extend one another


class Extends:
    """Of the services of one document of the file `path`."""

    def __init__(self, loading: Loading, scope: Scope, path: str, load: Load) -> None:
        self._loading = loading
        self._scope = scope
        self._path = path
        self._load = load

    def apply(self, tree: Tree, document: Document) -> None:
        """The tree's services with what they extend. Raises ComposeError."""
        services = tree.get("services")
        if services is None:
            return
        if not isinstance(services, dict):
            raise ComposeError("services must be a mapping", path="services")
        for name in list(services):
            services[name] = self._service(name, services, document.resets, ())

    def _service(self, name: str, services: Tree, resets: Resets, chain: tuple[tuple[str, str], ...]) -> Value:
        service = services[name]
        if service is None:
            return None
        if not isinstance(service, dict):
            raise ComposeError(f"services.{name} must be a mapping", path=f"services.{name}")
        extends = service.get("extends")
        if extends is None:
            return service
        base_name, file = self._reference(extends, name)
        base_services, base_resets, where = self._base(name, base_name, file, services)
        chain = _linked(chain, (where, name))
        base = self._service(base_name, base_services, base_resets if file else (), chain)
        if not isinstance(base, dict):
            return service
        source = self._loading.copied(base)
        remove({"services": {name: source}}, resets)
        merged = merged_service(source, service, name)
        merged.pop("extends", None)
        services[name] = merged
        return merged

    def _reference(self, extends: Value, name: str) -> tuple[str, str]:
        if isinstance(extends, str):
            return extends, ""
        service = extends.get("service") if isinstance(extends, dict) else None
        if not isinstance(extends, dict) or not isinstance(service, str):
            raise ComposeError(f"extends.{name}.service is required", path=f"services.{name}.extends")
        file = extends.get("file")
        if file is not None and not isinstance(file, str):
            raise ComposeError(f"services.{name}.extends.file must be a string", path=f"services.{name}.extends.file")
        return service, file or ""

    def _base(self, name: str, base: str, file: str, services: Tree) -> tuple[Tree, Resets, str]:
        """The services among which the base is, what their file resets, the file's name as it was given."""
        at = f"services.{name}.extends"
        if not file:
            if base not in services:
                said = f'cannot extend service "{name}" in {self._path}: service "{base}" not found'
                raise ComposeError(said, path=at)
            return services, (), self._path
        local = self._scope.within(self._loading.local(file))
        scope = Scope(
            directory=self._scope.directory_of(local),
            base=local.rpartition("/")[0] or "/",
            environment=self._scope.environment,
            resolve_paths=False,
            whole=False,
        )
        try:
            tree, resets = self._load(local, scope)
        except ComposeError as error:
            raise error.located(self._loading.positions) if error.path else _pathed(error, at) from None
        found = tree.get("services")
        if not isinstance(found, dict):
            reason = "no services section" if found is None else "services must be a mapping"
            raise ComposeError(f'cannot extend service "{name}" in {local}: {reason}', path=at)
        if base not in found:
            said = f'cannot extend service "{name}" in {self._path}: service "{base}" not found in {file}'
            raise ComposeError(said, path=at)
        resolved(tree, scope.directory, self._loading.home)
        return found, resets, file


def _pathed(error: ComposeError, path: str) -> ComposeError:
    error.path = path
    return error


def _linked(chain: tuple[tuple[str, str], ...], link: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Raises ComposeError for a ring, which it names."""
    if link in chain:
        ring = [*chain, link]
        lines = [f"  {ring[0][1]} in {ring[0][0]}", *(f"  extends {name} in {file}" for file, name in ring[1:])]
        path = f"services.{link[1]}.extends"
        raise ComposeError(
            "\n".join(["Circular reference:", *lines]), path=path, remedy="let one of them extend nothing"
        )
    if len(chain) >= DEPTH:
        raise ComposeError(f"more than {DEPTH} services extend one another", path=f"services.{link[1]}.extends")
    return (*chain, link)
