"""Versions of the programs that `info` names: an init, a runtime. Each is asked once, until its file is another one."""

from __future__ import annotations

import asyncio
import os

_PATIENCE = 2.0  # seconds
_MOST = 1 << 16  # bytes
_known: dict[str, tuple[tuple[int, int, int], str]] = {}  # path: (what its file was, version)


async def version(path: str) -> str:
    """The commit that `PATH --version` names, as dockerd shows it, else the version; "" when it does not say, does not
    answer within two seconds, or is not there.

        runc version 1.1.5      tini version 0.19.0 - git.de40ad0      crun version 1.8.1
        commit: v1.1.5-0-gf1                                           commit: f8a096be060b2
    """
    try:
        status = os.stat(path)
    except OSError:
        return ""
    mark = (status.st_ino, status.st_size, status.st_mtime_ns)
    if path not in _known or _known[path][0] != mark:
        _known[path] = mark, parse(await _said(path))
    return _known[path][1]


def parse(text: str) -> str:
    """What of a program's own words is its commit, or else its version."""
    lines = text.splitlines()
    commit = next((line.partition(":")[2].strip() for line in lines if line.startswith("commit:")), "")
    words = lines[0].split() if lines else []
    git = next((word.removeprefix("git.") for word in words if word.startswith("git.")), "")
    after = words.index("version") + 1 if "version" in words else len(words)
    return commit or git or "".join(words[after : after + 1])


async def _said(path: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return ""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE):
            return (await process.stdout.read(_MOST)).decode(errors="replace")
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
