"""A daemon's rooms in this process, and what builds do with them: steps on real trees, in the real runtime."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from corten.build.contract import Agent, CopyStep, Layer, Matched, Received, RunStep, SourceTree, StageTree
from corten.build.work.layer import top_of
from corten.build.work.work import Work
from corten.build.work.worker import StepWorker
from corten.daemon import assemble, directories
from corten.daemon.config import load
from corten.images.builtin import Builtin
from corten.layers import tree as trees
from corten.tasks.launcher import Launcher
from corten.tasks.supervisors import Supervisors

T = TypeVar("T")


class NoClient:
    """`corten.build.contract.Client` of a step that asks for nothing but these secrets."""

    def __init__(self, secrets: dict[str, bytes] | None = None, agents: dict[str, Agent] | None = None) -> None:
        self.secrets = secrets or {}
        self.agents = agents or {}

    async def files(self, source: str, names: Sequence[str]) -> dict[str, bytes]:
        return {}

    async def tree(self, source: str, follow: Sequence[str], exclude: Sequence[str], received: Received) -> SourceTree:
        raise AssertionError("a worker asks for no context")

    async def secret(self, id: str) -> bytes | None:
        return self.secrets.get(id)

    async def agent(self, id: str) -> Agent | None:
        return self.agents.get(id)

    async def credentials(self, host: str) -> tuple[str, str] | None:
        return None


class BuildWorld:
    """`base` are the diff ids of a busybox image; `name` is that of bridge and control group. To be closed."""

    def __init__(self, root: Path, *flags: str, name: str = "") -> None:
        self.root = root
        self.name = name or f"cb{secrets.token_hex(3)}"
        self.data, self.exec = root / "d", root / "r"
        own = ["--data-root", str(self.data), "--exec-root", str(self.exec), "-H", f"unix://{root / 's'}"]
        config, _ = load([*own, "--bridge", self.name, "--cgroup-parent", f"/{self.name}", "--group", "root", *flags])
        directories.make(config)
        self.launcher = Launcher(self.exec / "launcher.log")
        self.launcher.start()
        self._runner = asyncio.Runner()
        self.daemon = self.do(assemble.assemble(config, self.launcher))
        work = self.daemon.builds()._shared.workers
        assert isinstance(work, Work)
        self.work = work
        self.store = self.work.rooms.store
        self._held = self.store.leases.hold()
        self.worker: StepWorker = self.work.worker(self._held.__enter__())
        image = self.store.records.get(Builtin(self.store).ensure())
        assert image is not None
        self.base = tuple(image.config.diff_ids)
        self.image = image

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self._held.__exit__(None, None, None)
        self.do(self.daemon.close(5))
        assert isinstance(self.work.rooms.runtime, Supervisors)
        self.work.rooms.runtime.close()
        self._runner.close()
        self.launcher.close()
        for command in (
            ["ip", "link", "delete", self.name],
            ["nft", "delete", "table", "inet", f"corten-{self.name}"],
        ):
            subprocess.run(command, capture_output=True, timeout=60)
        for group in [*Path("/sys/fs/cgroup").glob(f"*/{self.name}"), Path("/sys/fs/cgroup") / self.name]:
            with suppress(FileNotFoundError):
                group.rmdir()
        top = trees.open_directory(os.fsencode(self.root))
        for name in os.listdir(top):  # deeper than pytest can remove, some of it
            if not (self.root / name).is_mount():
                trees.remove(top, os.fsencode(name))
        os.close(top)

    # ---------------------------------------------------------------------------------------------------- steps

    def run(self, script: str, parent: Sequence[str] | None = None, **options: Any) -> tuple[Layer, str]:
        """`RUN script`: its layer, and what it wrote to both streams."""
        said: list[bytes] = []
        client = options.pop("client", None) or NoClient()
        step = RunStep(("/bin/sh", "-c", script), **options)
        below = self.base if parent is None else parent
        layer = self.do(self.worker.run(below, step, client, lambda stream, data: said.append(data)))
        return layer, b"".join(said).decode()

    def copy(self, *sources: Matched, target: str, parent: Sequence[str] | None = None, **options: Any) -> Layer:
        below = self.base if parent is None else parent
        return self.do(self.worker.copy(below, CopyStep(sources, target, **options)))

    def context(self, name: str = "context") -> SourceTree:
        """An empty directory of a client's files."""
        path = self.root / name
        path.mkdir()
        return SourceTree(secrets.token_hex(8), path)

    def stage(self, *diffs: str) -> StageTree:
        return StageTree(top_of(diffs))

    def files(self, layer: Layer) -> list[str]:
        """What a layer's tar has, as `tar -tv` lists it: mode, owner, name."""
        if layer.blob is None:
            return []
        path = self.store.blobs.path(layer.blob.digest)
        listed = subprocess.run(["tar", "--numeric-owner", "-tvzf", path], capture_output=True, text=True, check=True)
        return [
            " ".join([words[0], words[1], *words[5:]]) for line in listed.stdout.splitlines() if (words := line.split())
        ]

    def left(self) -> list[str]:
        """What steps have left behind."""
        trees = self.work.rooms.trees.tree_store.keys(False)
        steps = self.data / "build/steps"
        own = [path for top in (self.work.rooms.memory, steps) if top.exists() for path in top.iterdir()]
        places = [f"{path}" for path in own]
        runs = [f"{path}" for path in (self.exec / "containers").iterdir()]
        top = Path("/sys/fs/cgroup")
        groups = [f"{path}" for parent in (top, *top.iterdir()) for path in parent.glob(f"{self.name}/*/cgroup.procs")]
        return [*trees, *places, *runs, *groups]
