"""The names of a stage's steps, as a progress display has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.spec.dockerfile import commands as c
from corten.spec.dockerfile import instructions as d
from corten.spec.dockerfile.mounts import SecretMount

_WORK = (d.Run, d.Copy, d.Add, d.Workdir)


class StepNames:
    """`stage` is the stage's name, "" for the only one without a name; `platform` is in them unless it is "". `count`
    is of the names that were given so far."""

    def __init__(self, stage: str, escape: str, platform: str = "") -> None:
        self._stage = stage
        self._escape = escape
        self._platform = platform
        self.count = self._total = 0

    def expect(self, work: Sequence[d.Instruction], image: bool) -> None:
        """How many there will be. An image that the stage begins with counts as one."""
        self._total = sum(isinstance(each, _WORK) for each in work) + image

    def without_one(self) -> None:
        """An instruction that was counted has no step."""
        self._total -= 1

    def next(self, text: str) -> str:
        """ "[build 2/3] RUN make" """
        self.count += 1
        return c.step_name(self._stage, self.count, self._total, text, False, self._platform)

    def next_of(self, found: d.Instruction, variables: Mapping[str, str], secrets: Sequence[SecretMount]) -> str:
        """Of an instruction, with its variables in place."""
        return self.next(c.shown(found, c.hide(variables, secrets), self._escape))
