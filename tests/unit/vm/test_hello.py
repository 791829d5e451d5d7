"""How long a guest may take to boot: by the processor time that its machine has used, as the clock says little."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from corten.errors import StartFailed
from corten.vm import frames, template


class Booting:
    """A machine that says hello when its processor time has been looked at so often; `spends` is each look's."""

    def __init__(self, after: int, spends: Callable[[int], float]) -> None:
        self.agent, self.guest = socket.socketpair()
        self._after, self._spends, self._looks = after, spends, 0

    def spent(self) -> float:
        self._looks += 1
        if self._looks == self._after:
            self.guest.sendall(frames.message({"event": "hello", "version": 1}))
        return self._spends(self._looks)

    def last_words(self) -> str:
        return ""


@pytest.fixture
def booting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Booting]]:
    made: list[Booting] = []

    def make(after: int, spends: Callable[[int], float]) -> Booting:
        made.append(Booting(after, spends))
        return made[-1]

    monkeypatch.setattr(template, "_spent", Booting.spent)
    monkeypatch.setattr(template, "TIMEOUT", 0.02)
    monkeypatch.setattr(template, "_GOES_ON", 0.001)
    yield make
    for machine in made:
        machine.agent.close()
        machine.guest.close()


def test_one_that_goes_on_has_more_than_the_clocks_time(booting: Callable[..., Booting]) -> None:
    template.await_hello(booting(5, lambda look: look * 0.002))  # type: ignore[arg-type]


@pytest.mark.parametrize("spends", [lambda _: 0.002, lambda look: look * 0.015], ids=["stands still", "takes too much"])
def test_one_that_does_not_boot(booting: Callable[..., Booting], spends: Callable[[int], float]) -> None:
    with pytest.raises(StartFailed, match="has not said hello"):
        template.await_hello(booting(5, spends))  # type: ignore[arg-type]


def test_one_that_takes_longer_than_its_daemon_waits(
    booting: Callable[..., Booting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "_LONGEST", 0.0)
    with pytest.raises(StartFailed, match="has not said hello"):
        template.await_hello(booting(5, lambda look: look * 0.002))  # type: ignore[arg-type]
