"""RUN --mount=type=...: as written (`MountFlag`), and typed (`mount_flags` reads both)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
Sharing = Literal["shared", "private", "locked"]


@dataclass(frozen=True, slots=True)
class MountFlag:
    """Its text, and the stage, image or context of `from=` (no variables are allowed there); "" is none."""

    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class BindMount:
    """`path` of a stage, an image or a context (`source`; "" is the context). `target` may be relative to WORKDIR."""

    target: str
    source: str = ""
    path: str = ""
    writable: bool = False


@dataclass(frozen=True, slots=True)
class CacheMount:
    """`source` "": a new one begins empty. None: not said (0o755, 0, 0)."""

    target: str
    id: str
    source: str = ""
    path: str = ""
    sharing: Sharing = "shared"
    read_only: bool = False
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    target: str
    size: int = 0  # bytes; 0 is the kernel's own limit


@dataclass(frozen=True, slots=True)
class SecretMount:
    """A file at `target` ("" for none), a variable ("" for none), or both."""

    id: str
    target: str
    variable: str = ""
    required: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o400


@dataclass(frozen=True, slots=True)
class SshMount:
    """`target` "": /run/buildkit/ssh_agent.N, N counted from 0 within the RUN."""

    id: str
    target: str = ""
    required: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o600


Mount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount
