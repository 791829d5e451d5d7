"""corten cri: become the server of Kubernetes' Container Runtime Interface, with all the words that follow."""

from __future__ import annotations

import os
import sys

from corten.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(_session: Session, flags: Flags) -> int:
    # The server's own package is found where ours was, also when it was put on the path by a launcher script.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    search = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{search}" if search else root
    os.execv(sys.executable, [sys.executable, "-P", "-m", "corten.cri", *flags.words])


COMMAND = Command(run, "[OPTIONS]", "Serve Kubernetes' Container Runtime Interface", raw=True)
