"""The variables of a project as a table, YAML or JSON."""

from __future__ import annotations

import json

from corten.cli.columns import align
from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.compose.variables.used import Variable

_HEADER = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"]


def shown(variables: Sequence[Variable], form: str) -> str:
    """Raises CommandError for a form that is not known."""
    match form:
        case "" | "table" | "pretty":
            rows = [[each.name, str(each.required).lower(), each.default, each.alternate] for each in variables]
            return align("\n".join("\t".join(row) for row in (_HEADER, *rows)), minimum=20, padding=1)
        case "json":
            return json.dumps({each.name: _fields(each) for each in variables}, indent=4)
        case "yaml":
            from corten.compose.output import yaml

            tree = {each.name: {key.lower(): value for key, value in _fields(each).items()} for each in variables}
            return yaml(tree, step=4)
        case _:
            raise CommandError(f"format value {json.dumps(form)} could not be parsed: parsing error")


def _fields(each: Variable) -> dict[str, str | bool]:
    return {
        "Name": each.name,
        "DefaultValue": each.default,
        "PresenceValue": each.alternate,
        "Required": each.required,
    }
