"""Files to one tree: each document is interpolated, extended and included, then merged over those before it."""

from __future__ import annotations

from collections.abc import Sequence

from corten.compose.document import Document, Tree
from corten.compose.errors import ComposeError
from corten.compose.loader.canonical import canonical
from corten.compose.loader.checks import check
from corten.compose.loader.defaults import with_defaults
from corten.compose.loader.environment import mappings, resolve_environment
from corten.compose.loader.extends import Extends, Resets
from corten.compose.loader.include import include
from corten.compose.loader.interpolate import interpolated
from corten.compose.loader.loading import Loading, Scope
from corten.compose.loader.merge import merged
from corten.compose.loader.paths import resolved
from corten.compose.loader.reset import remove
from corten.compose.loader.unique import without_doubles
from corten.compose.schema import validate


class Files:
    """Of one load."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading

    def model(self, paths: Sequence[str], scope: Scope) -> Tree:
        """The tree of files (absolute paths, the later over the earlier). Raises ComposeError."""
        tree: Tree = {}
        for path in paths:
            for document in self._loading.documents(path):
                tree = self._placed(tree, document, path, scope)
        with_defaults(tree)
        try:
            check(tree)
            if scope.resolve_paths:
                resolved(tree, scope.directory, self._loading.home)
        except ComposeError as error:
            raise error.located(self._loading.positions) from None
        resolve_environment(tree, scope.environment)
        return tree

    def _extended(self, path: str, scope: Scope) -> tuple[Tree, Resets]:
        """Of a file that another one extends."""
        tree: Tree = {}
        resets: Resets = ()
        for document in self._loading.documents(path):
            tree = self._placed(tree, document, path, scope)
            resets = document.resets
        return tree, resets

    def _placed(self, tree: Tree, document: Document, path: str, scope: Scope) -> Tree:
        try:
            self._loading.enter(document)
            return self._merged(tree, document, path, scope)
        except ComposeError as error:
            raise error.located(document.positions).located(self._loading.positions) from None

    def _merged(self, tree: Tree, document: Document, path: str, scope: Scope) -> Tree:
        if not isinstance(document.value, dict):
            raise ComposeError("top-level object must be a mapping", document.positions.get(""))
        loading, options = self._loading, self._loading.options
        own = loading.copied(document.value)
        if options.interpolate:
            own = interpolated(own, scope.environment.get, loading.warn)
        if scope.whole:
            Extends(loading, scope, path, self._extended).apply(own, document)
            loading.enter(document)
        remove(tree, document.resets)
        if scope.whole:
            include(own, path, loading, scope, self.model)
            loading.enter(document)
        tree = without_doubles(merged(tree, own))
        if scope.whole:
            validate(tree)
            if "version" in tree:
                said = "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential"
                loading.warn(f"{path}: {said} confusion")
                del tree["version"]
        canonical(tree, loading.warn, tolerant=not options.interpolate)
        _without_empty(tree)
        return without_doubles(tree)


def _without_empty(tree: Tree) -> None:
    for service in mappings(tree, "services"):
        servers = service.get("dns")
        if isinstance(servers, list):
            service["dns"] = [each for each in servers if each not in (None, "")]
