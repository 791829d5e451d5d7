"""`python -m corten.registry.server --listen 127.0.0.1:5000 --root DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from corten.errors import CortenError


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    from corten.registry.server import serve

    try:
        serve.main(words)
    except (CortenError, OSError) as error:
        print(f"corten registry: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
