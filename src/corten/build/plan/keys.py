"""The key of a step: a digest of everything that its result depends on, by content. Pure.

In the key of a RUN are its parent, arguments, variables, directory, user, network, security, heredocs, names of devices
and mounts; not its limits, hosts, proxies, nor the content of secrets and of cache mounts; and a platform only where
its programs are emulated: what this machine's processor runs is distinguished by content. In that of a COPY are its
parent, target, owner, mode and switches, and the checksum of its sources: names, contents, modes, owners, links and
attributes, no times.

A parent's part is its `identity`: the base image's tree, and the content of each layer above. Two parents that were
made on other days and have the same content have the same identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from corten.build.contract import (
    Bind,
    CacheMount,
    CopyStep,
    Layer,
    Matched,
    RunStep,
    SourceTree,
    StageTree,
    StepMount,
)
from corten.build.plan.graph import Settings, Work
from corten.spec.dockerfile.mounts import SecretMount, SshMount, TmpfsMount

_VERSION = 1  # of what is written here: another one makes every key another


def digest(*parts: Any) -> str:
    """Of any values that JSON has."""
    body = msgspec.json.encode([_VERSION, *parts])
    return "sha256:" + hashlib.sha256(body).hexdigest()


def identity(parent: str, layer: Layer) -> str:
    """Of a tree: what its parent has, and what was added."""
    return digest("layer", parent, layer.content) if layer.blob is not None else parent


def of(parent: str, work: Work, sums: Sequence[str]) -> str:
    """Of any step."""
    match work:
        case RunStep():
            return run(parent, work, sums)
        case CopyStep():
            return copy(parent, work, sums)
        case Settings():
            return settings(parent, work.digest)


def run(parent: str, step: RunStep, sums: Sequence[str]) -> str:
    """`sums` are the checksums of what its bind mounts show, in their order; "" for other mounts."""
    mounts = [_mount(mount, sum) for mount, sum in zip(step.mounts, sums)]
    files = {name: _text(data) for name, data in sorted(step.files.items())}
    devices = {"devices": [device.name for device in step.devices]} if step.devices else None
    return digest(
        "run", parent, _texts(step.args), _texts(step.env), step.cwd, step.user, step.network, step.insecure, mounts,
        files, *filter(None, [step.platform, step.volumes, devices])
    )  # fmt: skip


def _mount(mount: StepMount, sum: str) -> list[Any]:
    match mount:
        case Bind():
            return ["bind", mount.target, sum, mount.writable]
        case CacheMount():
            return ["cache", mount.target, mount.id, mount.sharing, mount.read_only, mount.uid, mount.gid, mount.mode]
        case TmpfsMount():
            return ["tmpfs", mount.target, mount.size]
        case SecretMount():
            named = ["secret", mount.id, mount.target, mount.variable, mount.required]
            return [*named, mount.uid, mount.gid, mount.mode]
        case SshMount():
            return ["ssh", mount.id, mount.target, mount.required, mount.uid, mount.gid, mount.mode]


def copy(parent: str, step: CopyStep, sums: Sequence[str]) -> str:
    """`sums` are the checksums of its sources, in their order. With `link` nothing of the parent's tree is looked at,
    and the layer is put on top of another one's all the same: the parent is in the key."""
    how = [step.owner, step.mode, list(step.exclude), step.parents, step.link, step.unpack, step.times]
    packed = [source.packed for source in step.sources] if any(source.packed for source in step.sources) else []
    more = [*([packed] if packed else []), *filter(None, [step.classic])]
    return digest("copy", parent, step.target, how, list(sums), *more)


def planned(work: RunStep | CopyStep) -> str:
    """Of what a plan says of a step, whose sources are not known yet: it tells vertices apart, and names no result."""
    if isinstance(work, RunStep):
        return run("", work, [mount.path if isinstance(mount, Bind) else "" for mount in work.mounts])
    texts = [[*_texts(each.paths), *(_text(data) for data in each.content.values())] for each in work.sources]
    return copy("", work, ["\0".join(each) for each in texts])


def settings(parent: str, digest_: str) -> str:
    """Of a step that only changes the configuration: `digest_` is of all that an image says behind it."""
    return digest("settings", parent, digest_)


def said(before: str, line: str) -> str:
    """A digest of all that an image says: of what it said `before`, "" for nothing, and one more line of its history,
    which has what that changes."""
    return digest("said", before, *_texts((line,)))


def base(config: Any) -> str:
    """The same of what an image says that a stage begins with: its configuration."""
    return digest("said", config)


def source(matched: Matched, exclude: Sequence[str], parents: bool) -> str | None:
    """A name for the checksum of sources in a tree that never changes, a stage's or a commit's; None for others."""
    match matched.tree:
        case StageTree(top=str() as name) if not matched.content:
            return digest("source", name, _texts(matched.paths), _texts(exclude), parents)
        case SourceTree(content=name) if name and not matched.content:
            return digest("content", name, _texts(matched.paths), _texts(exclude), parents)
    return None


def _texts(values: Sequence[str]) -> list[str]:
    return [value.encode(errors="surrogateescape").decode("utf-8", "backslashreplace") for value in values]


def _text(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
