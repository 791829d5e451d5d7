"""Running the clients: a failed command is one line with its last words."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from bench.measure import Failed

SECONDS = 120


def run(command: Sequence[str], environ: Mapping[str, str] | None = None, seconds: int = SECONDS) -> str:
    """Standard output of a command that succeeded. Raises Failed for any other, or after so many seconds."""
    try:
        done = subprocess.run(
            command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{_short(command)}: no end after {seconds} s") from None
    if done.returncode:
        raise Failed(f"{_short(command)}: status {done.returncode}: {last_words(done.stderr or done.stdout)}")
    return done.stdout


def last_words(text: str) -> str:
    """The last line that says something about the case: clients end with a hint at `--help`, which does not."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "--help" not in line]
    return lines[-1] if lines else "no message"


def count(command: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """How many bytes the command wrote to standard output. Raises Failed where it failed."""
    total = 0
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        assert process.stdout is not None
        while data := process.stdout.read(1 << 16):
            total += len(data)
    if process.returncode:
        raise Failed(f"{_short(command)}: status {process.returncode}")
    return total


def _short(command: Sequence[str]) -> str:
    return " ".join(command[:4])
