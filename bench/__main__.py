"""`python -m bench [--quick] [--only NAME ...] [--runs N] [--run-on-disk] [--kept DIR] [--write]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench import image, kept, machine, sandbox, table
from bench.measure import Failed
from bench.stage import Stage, Work
from bench.works import ALL

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
INTRODUCTION = """# Benchmarks

Written by `python -m bench --write`. All engines ran side by side in one run on one machine and took turns at the
same work; each is private to the run, in network and mount namespaces of its own. Quote the ratios, not the
milliseconds: those are of this machine, and of what else it did. A ratio that got worse is a bug.
"""


def main(arguments: list[str]) -> int:
    """Exit status: 0, or 1 where the machine cannot do it at all."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write and options.only:
        parser.error("--write takes all works: a page with some of them would replace the whole one")
    if os.geteuid() != 0:
        print("bench: containers, bridges and control groups take root: use sudo", file=sys.stderr)
        return 1
    if sandbox.INSIDE not in os.environ:
        _make(options)
        return sandbox.outside(arguments)
    scratch = Path(os.environ[sandbox.INSIDE])
    sandbox.prepare(scratch, options.run_on_disk)
    try:
        image.tree(scratch / "rootfs")
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _measure(options, Stage(scratch, options.quick, options.runs, options.kept))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="Compare Corten with dockerd, podman and runc.")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller works: under two minutes")
    names = [work.name for work in ALL]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument("--runs", type=int, help="so many repetitions of every work")
    parser.add_argument("--run-on-disk", action="store_true", help="/run on the disk; it is a tmpfs otherwise")
    parser.add_argument(
        "--kept", type=Path, default=kept.DIRECTORY, metavar="DIR",
        help="where the large images stay for the next run: 3 GB; default %(default)s",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md; with all works")
    return parser


def _chosen(options: argparse.Namespace) -> list[Work]:
    if options.only:
        return [work for work in ALL if work.name in options.only]
    return [work for work in ALL if not (options.quick and work.kept)]


def _make(options: argparse.Namespace) -> None:
    """Large images that are not there yet: out here, where there is a network to have Debian from."""
    for name in dict.fromkeys(name for work in _chosen(options) for name in work.kept):
        try:
            kept.make(name, options.kept)
        except (Failed, OSError) as error:  # the works that need it say so in their place
            print(f"bench: cannot make the image {name!r}: {error}", file=sys.stderr)


def _measure(options: argparse.Namespace, stage: Stage) -> None:
    begin = time.monotonic()
    about = f"## Machine\n\n{machine.description()}\n- /run is on {'the disk' if options.run_on_disk else 'a tmpfs'}\n"
    print(about, flush=True)
    chosen = _chosen(options)
    texts: dict[str, str] = {}
    try:
        for work in sorted(chosen, key=lambda work: work.order):
            texts[work.name] = _one(work, stage)
            print(texts[work.name], flush=True)
    finally:
        stage.close()
    print(f"{time.monotonic() - begin:.0f} s in all", file=sys.stderr)
    if options.write:
        scale = "\nA quick run: small works, few repetitions.\n" if options.quick else ""
        PAGE.write_text("\n".join((INTRODUCTION + scale, about, *(texts[work.name] for work in chosen))))


def _one(work: Work, stage: Stage) -> str:
    begin = time.monotonic()
    try:
        text = "\n".join(map(table.markdown, work.measure(stage)))
    except (Failed, OSError) as error:
        text = f"### {work.name}\n\nNot measured: {error}\n"
    print(f"{work.name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
