"""Which keys and types a Compose file may have, and where it has others.

https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json (draft 7), as tables of our own.
"""

from __future__ import annotations

from corten.compose.schema.validate import validate

__all__ = ["validate"]
