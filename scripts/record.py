"""Records a session of commands as the readme's picture: `scripts/record.py docs/run.svg`, in a clone, as root.

The commands are run for real, in a shell; what they print is drawn as text on a dark ground. It shows no times: those
are of a machine and a day, and docs/benchmarks.md has them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

SESSION = (
    "./corten run --rm corten/busybox sh -c 'id; hostname; ps'",
    './corten run --rm corten/busybox nosuch; echo "exit code $?"',
    "./corten run -d --name web -p 8080:80 corten/busybox httpd -f -h /etc",
    "busybox wget -qO- http://127.0.0.1:8080/hostname",
    "kill -9 $(cat /run/corten/daemon.pid); busybox wget -qO- http://127.0.0.1:8080/hostname",
    "./corten ps --format '{{.Names}}: {{.Status}}, {{.Ports}}'",
    "./corten rm -f web",
)
WIDTH, LINE, LEFT, TOP = 860, 19, 18, 44
STYLE = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:14px"


def session(commands: Sequence[str]) -> list[tuple[bool, str]]:
    """(is it a command, text) line by line."""
    lines = []
    for command in commands:
        lines.append((True, command))
        done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines += [(False, line) for line in done.stdout.expandtabs().splitlines()]
    return lines


def picture(lines: list[tuple[bool, str]]) -> str:
    height = TOP + LINE * len(lines) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#1b1f24"/>',
        *(
            f'<circle cx="{20 + 18 * i}" cy="18" r="5" fill="{c}"/>'
            for i, c in enumerate(("#e5534b", "#c69026", "#57ab5a"))
        ),
    ]
    for number, (is_command, line) in enumerate(lines):
        y = TOP + LINE * number
        prompt = '<tspan fill="#57ab5a">$ </tspan>' if is_command else ""
        colour = "#ffffff" if is_command else "#adbac7"
        place = f'x="{LEFT}" y="{y}" xml:space="preserve" fill="{colour}" style="{STYLE}"'
        parts.append(f"<text {place}>{prompt}{escape(line)}</text>")
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(session(SESSION)))
