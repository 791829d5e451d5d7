"""Plugins of the Container Network Interface by way of the launcher; see `corten.supervisor.cni`."""

from __future__ import annotations

from collections.abc import Mapping

from corten.tasks.answers import content
from corten.tasks.contract import PluginAnswer
from corten.tasks.launcher import Asked

_MORE = 10.0  # seconds for the helper itself


class LauncherPlugins:
    """`corten.tasks.contract.Plugins`."""

    def __init__(self, launcher: Asked) -> None:
        self._launcher = launcher

    async def run(
        self, plugin: str, environment: Mapping[str, str], config: str, namespace: int, seconds: float
    ) -> PluginAnswer:
        request = {
            "do": "cni",
            "plugin": plugin,
            "environment": dict(environment),
            "config": config,
            "seconds": seconds,
        }
        answer, _ = await self._launcher.ask(request, [namespace] if namespace >= 0 else [], seconds + _MORE)
        found = content(answer)
        return PluginAnswer(int(found["status"]), str(found["output"]))
