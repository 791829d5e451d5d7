"""The project's environment: the process's, over the files of variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from corten.compose.errors import ComposeError
from corten.compose.loader.files import read_file
from corten.compose.variables import dotenv


def variables_of(
    paths: Sequence[str], environment: Mapping[str, str], warn: Callable[[str], None] = lambda text: None
) -> dict[str, str]:
    """Of files of variables (absolute paths), the later winning; values may use `environment`, which goes before.

    Raises ComposeError.
    """
    found: dict[str, str] = {}
    for path in paths:
        if not os.path.exists(path):
            raise ComposeError(f"couldn't find env file: {path}")
        if os.path.isdir(path):
            raise ComposeError(f"{path} is a directory")
        dotenv.parse(read_file(path, dotenv.SIZE), path, environment.get, found, warn)
    return found
