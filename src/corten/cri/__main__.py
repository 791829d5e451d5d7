"""`python -m corten.cri`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from corten.aio import memory
from corten.aio.logs import to_stderr
from corten.cri import config, server
from corten.errors import CortenError
from corten.kernel.process import raise_file_limit, undumpable


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        found = config.load(sys.argv[1:] if arguments is None else arguments)
        level = logging.DEBUG if found.debug else logging.INFO
        to_stderr(level, "%(asctime)s %(levelname)s %(name)s: %(message)s")
        raise_file_limit()
        memory.bound()
        asyncio.run(server.serve(found))
    except CortenError as error:
        print(f"corten cri: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"corten cri: {text}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    undumpable()
    sys.exit(main())
