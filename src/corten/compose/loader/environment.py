"""Values that come from the project's environment: variables that are only named, secrets and configs of variables."""

from __future__ import annotations

from collections.abc import Mapping

from corten.compose.document import Tree, Value

CONTENT = "\0content"
"""Key of a secret's value until the project is made of the tree: no file can have it."""


def resolve_environment(tree: Tree, environment: Mapping[str, str]) -> None:
    """The tree is changed."""
    for service in mappings(tree, "services"):
        entries = service.get("environment")
        if isinstance(entries, list):
            service["environment"] = [_resolved(each, environment) for each in entries if isinstance(each, str)]
    for secret in mappings(tree, "secrets"):
        name = secret.get("environment")
        if isinstance(name, str) and name in environment:
            secret[CONTENT] = environment[name]
    for config in mappings(tree, "configs"):
        name = config.get("environment")
        if isinstance(name, str) and name in environment:
            config["content"] = environment[name]


def _resolved(entry: str, environment: Mapping[str, str]) -> Value:
    return f"{entry}={environment[entry]}" if entry in environment else entry


def mappings(tree: Tree, section: str) -> list[Tree]:
    """The entries of a section that are mappings."""
    found = tree.get(section)
    return [each for each in found.values() if isinstance(each, dict)] if isinstance(found, dict) else []
