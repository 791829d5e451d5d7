"""The flags of the registry's two commands: what is wrong with them is one line, as with everything else."""

from __future__ import annotations

import argparse
from typing import NoReturn

from corten.errors import Invalid


class Parser(argparse.ArgumentParser):
    """`command` is `serve` or `gc`. `parse_args` raises Invalid."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(f"corten registry {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise Invalid(f"{message}; see '{self.prog} --help'")
