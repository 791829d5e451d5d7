"""Names of steps by what they are made of, stages that they copy from included: no step has to be done to know them.

A step's key has the content of the stages that it copies from, so these have to be there first. Its definition has
their instructions, and the content of what comes from elsewhere: base images, the client's files, files at URLs. By it
a cache that has a result alone is found, as BuildKit's is. Two builds with one definition need not have the same
content, where a RUN does not give the same twice: who names a cache wants what it has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from corten.build.contract import Bind, CopyStep, Matched, RunStep, Tree
from corten.build.plan import keys
from corten.build.plan.graph import Base, Node, Plan, Settings, Step
from corten.errors import CortenError

TreeOf = Callable[[Node | None], Awaitable[Tree | None]]


class Checksum(Protocol):
    async def __call__(self, source: Matched, exclude: Sequence[str] = (), parents: bool = False) -> str: ...


def copies(node: Step) -> bool:
    """Whether it needs the content of a stage besides the one that it is in."""
    return any(isinstance(origin, Step) for origin in node.origins)


async def define(plan: Plan, tree: TreeOf, checksum: Checksum) -> dict[Step, str]:
    """By step; those that are to be done again, and what is made of them, are left out. `tree` gives that of a client's
    files, or of one at a URL."""
    names: dict[Node, str] = {}
    for node in plan.nodes:
        if isinstance(node, Base):
            names[node] = (node.image.chain_id or "") if node.image is not None else ""
        elif isinstance(node, Step) and (name := await _step(node, names, tree, checksum)) is not None:
            names[node] = name
    return {node: name for node, name in names.items() if isinstance(node, Step)}


async def _step(node: Step, names: dict[Node, str], tree: TreeOf, checksum: Checksum) -> str | None:
    needed = [node.parent, *(origin for origin in node.origins if isinstance(origin, Base | Step))]
    if node.fresh or any(each not in names for each in needed):
        return None
    try:
        sums = await _sums(node, names, tree, checksum)
    except CortenError:  # the step says it
        return None
    return keys.digest("definition", keys.of(names[node.parent], node.work, sums))


async def _sums(node: Step, names: dict[Node, str], tree: TreeOf, checksum: Checksum) -> list[str]:
    work, found = node.work, list[str]()
    if isinstance(work, Settings):
        return found
    sources = work.sources if isinstance(work, CopyStep) else work.mounts
    for source, origin in zip(sources, node.origins, strict=False):
        matched, exclude, parents = _matched(source, work)
        if matched is None:
            found.append("")
        elif isinstance(origin, Base | Step):
            found.append(keys.digest("stage", names[origin], list(matched.paths), list(exclude), parents))
        else:
            found.append(await checksum(replace(matched, tree=await tree(origin)), exclude, parents))
    return found


def _matched(source: object, work: CopyStep | RunStep) -> tuple[Matched | None, Sequence[str], bool]:
    if isinstance(source, Matched) and isinstance(work, CopyStep):
        return source, work.exclude, work.parents
    return (Matched(None, (source.path or "/",)) if isinstance(source, Bind) else None), (), False
