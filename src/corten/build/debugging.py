"""A shell where a step has failed: `build --debug-shell`."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import replace

from corten.build.contract import Client, CopyStep, Layer, Matched, RunStep, StepFailed, Terminal, Terminals, Worker
from corten.spec.packages.package import Inventory

_SHELLS = ("sh", "bash", "ash", "dash", "zsh", "ksh", "fish")
_DEFAULT = "/bin/sh"


class DebuggedWorker:
    """`Worker`: when a RUN fails, the client gets a shell in the state before it, with the same mounts, user, directory
    and variables; then the step has failed as ever. One shell at a time."""

    def __init__(self, worker: Worker, terminals: Terminals) -> None:
        self._worker = worker
        self._terminals = terminals
        self._one = asyncio.Lock()

    async def run(
        self, parent: Sequence[str], step: RunStep, client: Client, output: Callable[[int, bytes], None]
    ) -> Layer:
        try:
            return await self._worker.run(parent, step, client, output)
        except StepFailed as failed:
            async with self._one, self._terminals(str(failed)) as terminal:
                if terminal is not None:
                    await self._worker.shell(parent, replace(step, args=_shell(step.args)), client, terminal)
            raise

    async def shell(self, parent: Sequence[str], step: RunStep, client: Client, terminal: Terminal) -> None:
        await self._worker.shell(parent, step, client, terminal)

    async def copy(self, parent: Sequence[str], step: CopyStep) -> Layer:
        return await self._worker.copy(parent, step)

    async def checksum(self, source: Matched, exclude: Sequence[str] = (), parents: bool = False) -> str:
        return await self._worker.checksum(source, exclude, parents)

    async def packages(self, parent: Sequence[str]) -> Inventory:
        return await self._worker.packages(parent)


def _shell(args: Sequence[str]) -> tuple[str, ...]:
    """The step's own, where it is one."""
    return (args[0],) if args and posixpath.basename(args[0]) in _SHELLS else (_DEFAULT,)
