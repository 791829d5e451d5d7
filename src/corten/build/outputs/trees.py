"""type=local and type=tar: the files of the result."""

from __future__ import annotations

from corten.aio.sources import closing
from corten.build.outputs import attestations
from corten.build.outputs.contract import PlatformTree, Result, Sink, Tree, TreeReader
from corten.build.outputs.options import TreeOutput
from corten.errors import Unsupported


async def deliver(output: TreeOutput, number: int, result: Result, reader: TreeReader, sink: Sink) -> dict[str, str]:
    """Its answer. The trees are leased by the caller. Raises what the sink does."""
    split = len(result.images) > 1 if output.split is None else output.split
    if not split and len(result.images) > 1:
        raise Unsupported("files of several platforms in one directory are not supported: platform-split=true")
    trees = [
        PlatformTree(
            each.top,
            str(each.platform).replace("/", "_") if split else "",
            await attestations.files(each, output.prefix, reader),
        )
        for each in result.images
    ]
    tree = Tree(reader, tuple(trees), output.epoch)
    if not output.tar:
        await sink.tree(number, tree)
        return {}
    async with tree.tar() as tar, closing(tar) as pieces:
        await sink.file(number, {}, pieces)
    return {}
