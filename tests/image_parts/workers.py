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
from corten.layers.sums import Written
from corten.layers.worker import unpack
try:
    layer, written = sys.argv[4] == "layer", Written(int(sys.argv[6]))
    how = {"layer": layer, "written": None if layer else written, "owned": sys.argv[4] == "owned files"}
    if sys.argv[4] == "files again":
        from corten.layers.again import ApplyingAgain
        how["kind"] = ApplyingAgain
    answer = {"ok": unpack(int(sys.argv[2]), int(sys.argv[3]), **how)}
    if not layer:
        open(int(sys.argv[5]), "wb", closefd=False).write(written.data)
except Exception as error:
    answer = {"error": [type(error).__name__, str(error), getattr(error, "errno", None)]}
print(json.dumps(answer))
"""


class ForkWorkers:
    async def unpack(self, tree: Path, source_fd: int) -> dict[str, Any]:
        return await self._unpack(tree, source_fd, "layer")

    async def unpack_files(
        self, tree: Path, source_fd: int, sums_fd: int, most: int, owned: bool = False, again: bool = False
    ) -> dict[str, Any]:
        what = "owned files" if owned else "files again" if again else "files"
        return await self._unpack(tree, source_fd, what, sums_fd, most)

    async def _unpack(self, tree: Path, source_fd: int, what: str, sums_fd: int = -1, most: int = 0) -> dict[str, Any]:
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
                str(sums_fd),
                str(most),
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(tree_fd, source_fd, *((sums_fd,) if sums_fd >= 0 else ())),
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
