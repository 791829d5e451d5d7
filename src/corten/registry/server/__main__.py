"""`python -m corten.registry.server --listen 127.0.0.1:5000 --root DIR`; with `gc` as the first word, a collection."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from corten.errors import CortenError
from corten.kernel.process import undumpable


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["gc"]:
            from corten.registry.server import gc

            gc.main(words[1:])
        else:
            from corten.registry.server import serve

            serve.main(words)
    except CortenError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return 0


def _failed(message: str) -> int:
    print(f"corten registry: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    undumpable()  # it has passwords and the key of its tokens
    os.umask(0o077)  # what is kept is for no other user of the machine
    sys.exit(main())
