"""Plans of Dockerfiles without an engine: images are made of nothing, and steps are looked at instead of done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.build.contract import BuildRequest, CopyStep, RunStep
from corten.build.plan.graph import Step
from corten.build.plan.planner import Planned, Planner
from corten.errors import NotFound
from corten.images.image import Image
from corten.spec import platform as platforms
from corten.spec.dockerfile.parse import parse
from corten.spec.image_config import ImageConfig

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image(name: str, config: Mapping[str, Any] | None = None) -> Image:
    found = ImageConfig(architecture="amd64", os="linux", config=dict(config or {"Env": [PATH], "Cmd": ["sh"]}))
    return Image(f"sha256:{name}", found, f"chain {name}", (), (), 0, "", (), "sha256:" + "3" * 64)


class Images:
    """By name; `asked` are (name, platform) in their order."""

    def __init__(self, **configs: Mapping[str, Any]) -> None:
        self._configs = configs
        self.asked: list[tuple[str, str]] = []

    async def resolve(self, ref: str, platform: str) -> tuple[Image, str]:
        self.asked.append((ref, platform))
        if ref not in ("busybox", "other", *self._configs):
            raise NotFound(f"no image {ref}")
        return image(ref, self._configs.get(ref)), f"docker.io/library/{ref}:latest"


async def plan(text: str, images: Images | None = None, /, **request: Any) -> Planned:
    target = platforms.Platform("linux", "arm64", "")
    asked = BuildRequest(**request)
    return await Planner(parse(text.encode()), asked, target, ("*.log",), (images or Images()).resolve).plan()


def steps(planned: Planned) -> list[Step]:
    return [node for node in planned.plan.nodes if isinstance(node, Step)]


def runs(planned: Planned) -> list[RunStep]:
    return [step.work for step in steps(planned) if isinstance(step.work, RunStep)]


def copies(planned: Planned) -> list[CopyStep]:
    return [step.work for step in steps(planned) if isinstance(step.work, CopyStep)]


def env(planned: Planned, index: int = -1) -> dict[str, str]:
    """The variables of a RUN, without PATH."""
    found = dict(entry.partition("=")[::2] for entry in runs(planned)[index].env)
    return {key: value for key, value in found.items() if key != "PATH"}


def image_env(planned: Planned) -> list[str]:
    return [entry for entry in planned.plan.config["Env"] if entry != PATH]
