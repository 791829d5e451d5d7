"""Steps whose programs this machine's processor cannot run: what users are to know before they begin."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from corten.build.contract import RunStep, Trace
from corten.build.plan.graph import Plan, Step
from corten.build.plan.keys import digest
from corten.build.vertices import vertex
from corten.spec import platform as platforms


async def say(plans: Sequence[Plan], trace: Trace) -> None:
    """A row for each such platform: by what its programs are run, or what is missing for that."""
    works = (node.work for plan in plans for node in plan.nodes if isinstance(node, Step))
    for name in dict.fromkeys(work.platform for work in works if isinstance(work, RunStep) and work.platform):
        from corten.tasks.emulation import emulation  # for the few builds that need it

        found = await asyncio.to_thread(emulation, platforms.parse(name))
        text = found.missing
        if found.lines:
            text = f"programs for {name} are run by {found.interpreter}, registered with the kernel while steps run"
        if text:
            async with vertex(trace, digest("emulated", name), f"[internal] {text}"):
                pass
