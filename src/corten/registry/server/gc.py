"""`corten registry gc`: one collection, also while a server has the directory open."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from corten.errors import Invalid, NotFound
from corten.registry.server.collect import Collector, Policy, Removed
from corten.registry.server.config import from_file
from corten.registry.server.parser import Parser
from corten.registry.server.retention import Keep
from corten.registry.server.rights import check_pattern
from corten.registry.server.sections import duration
from corten.registry.server.store import Store

_ORDER = ("tag", "manifest", "link", "blob", "upload")


def main(arguments: Sequence[str]) -> None:
    """Run `corten registry gc`. Raises CortenError or OSError when it fails."""
    given = _parser().parse_args(arguments)
    policy, root = Policy(), given.root
    if given.config:
        config = from_file(given.config)
        policy, root = config.collect, root or config.root
    if root is None:
        raise Invalid("which registry? give --root DIR, or root in the --config FILE")
    if not (root / "repositories").is_dir():
        raise NotFound(f"{root} is no registry's directory")
    store = Store(root)
    try:
        _show(Collector(store, _policy(policy, given), given.dry_run).run(), given.dry_run)
    finally:
        store.close()


def _parser() -> Parser:
    parser = Parser("gc", "Free what nothing in a registry needs.")
    parser.add_argument("--root", type=Path, metavar="DIR", help="the registry's directory")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the registry's TOML file; flags come first")
    parser.add_argument("--dry-run", "-n", action="store_true", help="only say what would go")
    parser.add_argument("--grace", metavar="AGE", help="leave alone what was needed in the last AGE (default 1h)")
    parser.add_argument("--untagged", metavar="AGE", help="manifests without a tag for AGE go too (default: they stay)")
    parser.add_argument("--uploads", metavar="AGE", help="remove uploads without a write for AGE (default 24h)")
    parser.add_argument(
        "--keep-last",
        action="append",
        default=[],
        metavar="REPOSITORIES:TAGS:N",
        help="of the tags like TAGS only the last N pushed stay, as in team/**:nightly-*:10; may be repeated",
    )
    return parser


def _policy(policy: Policy, given: argparse.Namespace) -> Policy:
    ages = {key: text for key in ("grace", "untagged", "uploads") if (text := getattr(given, key)) is not None}
    rules = (*(_keep(text) for text in given.keep_last), *policy.keep)
    return replace(policy, keep=rules, **{key: duration(text, f"--{key}") for key, text in ages.items()})


def _keep(text: str) -> Keep:
    repositories, _, rest = text.partition(":")
    tags, _, last = rest.rpartition(":")
    if not repositories or not tags or not last.isdigit():
        raise Invalid(f"--keep-last {text!r}: want REPOSITORIES:TAGS:N, as in team/**:nightly-*:10")
    return Keep((check_pattern(repositories),), (tags,), int(last))


def _show(removed: Iterable[Removed], dry_run: bool) -> None:
    count: Counter[str] = Counter()
    freed = 0
    for each in removed:
        print(each, flush=True)
        count[each.kind] += 1
        freed += each.size
    parts = ", ".join(f"{count[kind]} {kind}s" for kind in _ORDER if count[kind]) or "nothing"
    print(f"{'would remove' if dry_run else 'removed'} {parts}: {freed} bytes", file=sys.stderr)
