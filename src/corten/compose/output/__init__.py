"""A project as `config` prints it: YAML and JSON in Compose's form, and the hash of a service."""

from __future__ import annotations

from typing import Any

from corten.compose.document import Tree, Value
from corten.compose.loader.environment import CONTENT
from corten.compose.model import Project
from corten.compose.output.hashes import network_hash, service_hash, volume_hash
from corten.compose.output.json import compact, indented
from corten.compose.output.ordered import Sorted
from corten.compose.output.plain import json_tree, yaml_tree
from corten.compose.output.yaml import yaml

__all__ = [
    "compact",
    "indented",
    "json_tree",
    "network_hash",
    "printed",
    "printed_tree",
    "service_hash",
    "volume_hash",
    "yaml",
    "yaml_tree",
]


def printed(project: Project, form: str) -> str:
    """As `config` shows it: `form` is yaml or json. Every $ is doubled, so that it can be read again."""
    if form == "json":
        return indented(json_tree(project)).replace("$", "$$")
    return yaml(yaml_tree(project)).replace("$", "$$")


def printed_tree(tree: Tree, form: str) -> str:
    """Of a tree that is not interpolated, all keys sorted."""
    shown = _sorted(tree)
    return indented(shown) if form == "json" else yaml(shown)


def _sorted(value: Value) -> Any:
    if isinstance(value, dict):
        return Sorted({key: _sorted(each) for key, each in value.items() if key != CONTENT})
    return [_sorted(each) for each in value] if isinstance(value, list) else value
