"""Starting a daemon that is not there, for launchers whose first command is `corten run`.

The environment variable CORTEN_AUTOSTART is the path of a program, or a command (words separated by blanks; no shell),
that returns 0 once a daemon listens on the default socket. It is run only when connecting to that socket failed because
no process listened.
"""

from __future__ import annotations

import os


def start(environ: dict[str, str] | os._Environ[str]) -> bool:
    """Whether a command was named and ended with 0. Its output goes to our standard error."""
    command = environ.get("CORTEN_AUTOSTART", "")
    words = [command] if os.path.isfile(command) else command.split()
    if not words:
        return False
    # The command must not start itself again, and its chatter must not end in what the caller reads from stdout.
    env = {name: value for name, value in environ.items() if name != "CORTEN_AUTOSTART"}
    try:
        pid = os.posix_spawnp(words[0], words, env, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    except OSError:
        return False
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0
