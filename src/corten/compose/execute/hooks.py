"""Programs that run in a container at a point of its life: post_start and pre_stop."""

from __future__ import annotations

from corten.client import containers
from corten.client.stdcopy import Frames
from corten.compose.model import Hook
from corten.compose.refusals import Refused
from corten.compose.requests.container import environment
from corten.spec.docker.exec import ExecConfig, ExecStart
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Client

_KEPT = 4096  # bytes of what a hook says that are shown when it fails


def run_hook(client: Client, id: str, name: str, hook: Hook) -> None:
    """Until it has ended. Raises Refused when it fails."""
    config = ExecConfig(
        cmd=list(hook.command or ()),
        user=hook.user or UNSET,
        privileged=hook.privileged or UNSET,
        working_dir=hook.working_dir or UNSET,
        env=environment(hook.environment) or UNSET,
        attach_stdout=True,
        attach_stderr=True,
    )
    exec_id = containers.exec_create(client, id, config)
    upgraded = containers.exec_attach(client, exec_id, ExecStart())
    frames, said, data = Frames(), b"", upgraded.early
    try:
        while True:
            for _, part in frames.feed(data) if data else ():
                said = (said + bytes(part))[-_KEPT:]
            data = upgraded.sock.recv(1 << 16)
            if not data:
                break
    finally:
        upgraded.sock.close()
    code = containers.exec_inspect(client, exec_id).get("ExitCode") or 0
    if code:
        text = said.decode("utf-8", "replace").strip()
        raise Refused(f"{name} hook exited with status {code}{': ' + text if text else ''}")
