"""Ctrl-C at the moments when one handler of it ends and the next begins."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.cli.compose import attaching
from corten.cli.compose.attaching import INTERRUPTED, Attached
from corten.cli.compose.performing import Interruptible
from corten.cli.errors import CommandError
from corten.compose.execute.executor import Executor
from corten.compose.plan.graph import Drawing
from corten.compose.refusals import Refused

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    former = [signal.getsignal(number) for number in ENDING]
    yield
    for number, handler in zip(ENDING, former, strict=True):
        signal.signal(number, handler)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_after_the_last_step_and_before_the_end() -> None:
    """All is done, so nothing fails by it: it is raised all the same."""
    executor = Executor(cast(Any, None), "p", lambda *_: None, str, cast(Any, None))
    with pytest.raises(CommandError) as caught, Interruptible(executor.interrupt):
        executor.run(Drawing().graph())
        interrupt()
    assert caught.value.code == INTERRUPTED


def test_a_failure_by_it_is_raised_as_it_is() -> None:
    with pytest.raises(Refused), Interruptible(lambda: None):
        interrupt()
        raise Refused("", INTERRUPTED)


def test_handlers_of_before_are_put_back_first() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(CommandError), Interruptible(lambda: None):
        interrupt()
    assert signal.getsignal(signal.SIGINT) == before


def test_between_the_starts_and_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "News", lambda *_: None)
    attached = Attached(
        cast(Any, SimpleNamespace(client=None)), cast(Any, SimpleNamespace(name="p")), set(), cast(Any, None)
    )
    monkeypatch.setattr(attached, "_running", lambda: [SimpleNamespace(id="1")])
    monkeypatch.setattr(attached, "_stop", lambda code, why: code)
    attached._names["1"] = "p-a-1"
    attached.listen()
    interrupt()
    assert attached.wait() == INTERRUPTED
