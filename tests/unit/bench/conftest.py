"""The benchmark is a program beside the package, so that its directory has to be put on the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
