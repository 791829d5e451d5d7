from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How quick an example is says how busy the machine is: no test fails by that. pytest has the limit for a whole test.
settings.register_profile("corten", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("corten")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n` and without `--dist`: the tests of a file go to one worker, which makes what they share once.

    Files begin in the order of their names: those of e2e and fault, which take longest, before the many of unit.
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
    return "tests/vm" if file.startswith("tests/vm/") else file
