"""Bodies of /exec."""

from __future__ import annotations

from corten.spec.docker.struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.gotypes import ConsoleSize


class ExecConfig(Struct, go="types.ExecConfig"):
    """The body of POST /containers/ID/exec. `console_size` is rows and columns."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: ConsoleSize = [0, 0]
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach: bool = False
    detach_keys: str = ""
    env: list[str] | None = None
    working_dir: str = ""
    cmd: list[str] | None = None


class ExecStart(Struct, go="container.ExecStartOptions"):
    detach: bool = False
    tty: bool = False
    console_size: ConsoleSize = [0, 0]
