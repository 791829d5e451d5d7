"""The whole way from options to a project."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from corten.compose.document import Positions, Tree
from corten.compose.errors import ComposeError
from corten.compose.loader.consistency import check_consistency
from corten.compose.loader.discover import Found, discover, project_name
from corten.compose.loader.loading import Loading, Scope
from corten.compose.loader.model import Files
from corten.compose.loader.normalize import normalized
from corten.compose.loader.options import Options
from corten.compose.loader.select import enabled, selected, with_equal_scales, with_profiles, without_unused
from corten.compose.loader.typed import project_of
from corten.compose.loader.variablefiles import with_labels, with_variables
from corten.compose.model import Position, Project


class Model(msgspec.Struct, frozen=True):
    """A project that is a tree still: what `config --no-interpolate` prints."""

    tree: Tree
    name: str
    found: Found
    environment: Mapping[str, str]
    positions: Positions
    warnings: tuple[str, ...]


def load(options: Options) -> Project:
    """Read, merge, check and complete what the options name. Raises ComposeError with file, line and remedy."""
    model = load_model(options)
    try:
        return _project(model, options)
    except ComposeError as error:
        error.warnings = model.warnings
        raise error.located(model.positions) from None


def load_model(options: Options) -> Model:
    """The same without types and selection."""
    loading = Loading(options, options.environ.get("HOME", ""))
    try:
        return _model(loading, options)
    except ComposeError as error:
        error.warnings = tuple(loading.warnings)
        raise error.located(loading.positions) from None


def _model(loading: Loading, options: Options) -> Model:
    here = os.getcwd()
    found = discover(options, here, loading.warn, loading.local)
    documents = [document for path in found.files for document in loading.documents(path)]
    name = project_name(options, found, documents, loading.warn)
    environment = {**found.environment, "COMPOSE_PROJECT_NAME": name}
    directory = found.directory
    scope = Scope(directory=directory, base=directory, environment=environment, resolve_paths=options.resolve_paths)
    tree = Files(loading).model(found.files, scope)
    if not tree:
        raise ComposeError("empty compose file", Position(found.files[0], 1), "add services")
    if not name:
        raise ComposeError("project name must not be empty", remedy="give one with -p, or name: in the file")
    if options.normalize:
        tree["name"] = name
        normalized(tree, environment)
    return Model(tree, name, found, environment, loading.positions, tuple(loading.warnings))


def _project(model: Model, options: Options) -> Project:
    project = replace(
        project_of(model.tree),
        name=model.name,
        working_dir=model.found.directory,
        files=model.found.files,
        env_files=model.found.env_files,
        environment=model.environment,
        positions=model.positions,
        warnings=model.warnings,
    )
    project = with_profiles(project, model.found.profiles)
    if options.consistency:
        check_consistency(project)
        project = with_equal_scales(project)
    project = selected(enabled(project, options.services), options.services)
    if options.resolve_env:
        project = with_variables(project)
    project = with_labels(project)
    return project if options.all_resources else without_unused(project)
