"""Waiting for a container to end or to go."""

from __future__ import annotations

import asyncio
from typing import cast

from corten.engine.containers.container import Condition, Container
from corten.errors import Invalid
from corten.tasks.contract import Exit
from corten.units.durations import SECOND

CONDITIONS = ("not-running", "next-exit", "removed")


def condition(text: str) -> Condition:
    """Docker's word for what to wait for; none is "not-running". Invalid."""
    if (text or "not-running") not in CONDITIONS:
        raise Invalid(f'invalid condition: "{text}"')
    return cast(Condition, text or "not-running")


def future(container: Container, what: Condition) -> asyncio.Future[Exit]:
    """Resolved when it comes about; registered at once, so that nothing is missed. Cancel it to stop waiting.

    Its error is that of a start that failed: clients take it for a failure, and a status beside it for nothing.
    """
    waiting: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    state = container.record.state
    if container.gone or (what == "not-running" and not state.running):
        failed = "" if state.ran else state.error
        waiting.set_result(Exit(state.exit_code, state.finished_at / SECOND, error=failed))
        return waiting
    container.waiters[what].add(waiting)
    waiting.add_done_callback(container.waiters[what].discard)
    return waiting
