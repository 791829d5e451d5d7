"""YAML as Compose reads it: text to plain values, with the position of each and the paths of !reset and !override.

YAML 1.2's scalars with Go's numbers (010 is 8, yes is a text), merges by `<<`, several documents in one file. What a
file can grow to by aliases, how deep and how long it is are bounded here, so that whatever walks a tree later may
recurse.
"""

from __future__ import annotations

from corten.compose.document.document import Document, Positions, Tree, Value
from corten.compose.document.read import read

__all__ = ["Document", "Positions", "Tree", "Value", "read"]
