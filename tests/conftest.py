from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How quick an example is says how busy the machine is: no test fails by that. pytest has the limit for a whole test.
settings.register_profile("corten", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("corten")

# `./test --cluster` alone: they need programs of Kubernetes, and building those takes many minutes.
collect_ignore = [] if os.environ.get("CORTEN_KUBERNETES_PROGRAMS") else ["cluster"]

# A shell without job control starts what it puts in the background with these ignored, and all below inherit that.
for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

_MACHINES = "tests/vm"  # and the tests below it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Emulated machines first: they go to one worker, and at the end the others would wait for it."""
    items.sort(key=lambda item: _share(item.nodeid) != _MACHINES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n` and without `--dist`: the tests of a file go to one worker, which makes what they share once.

    Files begin in the order of their names, but machines first: those of e2e and fault, which take longest, before the
    many of unit.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    config.option.loadscopereorder = False
    scheduling = LoadFileScheduling(config, log)
    scheduling._split_scope = _share
    return scheduling


def _share(test: str) -> str:
    """What goes to one worker: a file, and all of tests/vm, because each emulated machine takes a whole processor."""
    file = test.partition("::")[0]
    return _MACHINES if file.startswith("tests/vm/") else file
