"""`Workers` by a subprocess of the interpreter, for tests that have no launcher. Same confinement, slower to begin."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import corten
from corten import errors

_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from corten.layers.worker import unpack
try:
    answer = {"ok": unpack(int(sys.argv[2]), int(sys.argv[3]), layer=sys.argv[4] == "layer")}
except Exception as error:
    answer = {"error": [type(error).__name__, str(error), getattr(error, "errno", None)]}
print(json.dumps(answer))
"""


class ForkWorkers:
    async def unpack(self, tree: Path, source_fd: int) -> dict[str, Any]:
        return await self._unpack(tree, source_fd, "layer")

    async def unpack_files(self, tree: Path, source_fd: int) -> dict[str, Any]:
        return await self._unpack(tree, source_fd, "files")

    async def _unpack(self, tree: Path, source_fd: int, what: str) -> dict[str, Any]:
        tree_fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                "-c",
                _PROGRAM,
                str(Path(corten.__file__).parent.parent),
                str(tree_fd),
                str(source_fd),
                what,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(tree_fd, source_fd),
            )
        finally:
            os.close(tree_fd)
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        answer = json.loads(output)
        if "ok" in answer:
            unpacked: dict[str, Any] = answer["ok"]
            return unpacked
        kind, text, number = answer["error"]
        cls = getattr(errors, kind, None)
        raise cls(text) if cls else OSError(number or 0, text)
