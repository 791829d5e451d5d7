"""Other people's programs: where those of Docker's client are, and the one that runs at the moment."""

from __future__ import annotations

import os
import threading

from corten.compose.refusals import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

_PLUGINS = ("/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins",
            "/usr/libexec/docker/cli-plugins")  # fmt: skip


class Running:
    """The program that runs at the moment, so that Ctrl-C can end it. `environment` is that of all of them, None our
    own."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    def begin(self, command: list[str], directory: str) -> subprocess.Popen[bytes]:
        """Raises Refused when it cannot be run, or was to be ended already."""
        with self._lock:
            if self._ended:
                raise Refused("", 130)
            import subprocess

            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    cwd=directory or None,
                    env=self.environment,
                )
            except OSError as error:
                raise Refused(f"{command[0]} cannot be run: {error.strerror}") from None
            return self._process

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()


def plugin(kind: str) -> str:
    """The path of docker-KIND, a plugin of Docker's client; "" when there is none."""
    configuration = os.environ.get("DOCKER_CONFIG") or os.path.join(os.environ.get("HOME", "/root"), ".docker")
    for directory in (os.path.join(configuration, "cli-plugins"), *_PLUGINS):
        path = os.path.join(directory, f"docker-{kind}")
        if "/" not in kind and os.access(path, os.X_OK):
            return path
    return ""
