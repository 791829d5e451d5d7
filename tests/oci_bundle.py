"""A bundle of busybox and the OCI command line over it, with a state of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

BUSYBOX = "/bin/busybox"


class Runtime:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.bundle = root / "bundle"
        (self.bundle / "rootfs/bin").mkdir(parents=True)
        shutil.copy(BUSYBOX, self.bundle / "rootfs/bin/busybox")
        for applet in ("sh", "sleep", "id", "echo"):
            (self.bundle / "rootfs/bin" / applet).symlink_to("busybox")
        assert self("spec", "-b", str(self.bundle)).returncode == 0

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        # Output to a file: a created container holds it open, and a pipe would be waited for.
        with (self.root / "out").open("w+") as out:
            command = [sys.executable, "-m", "corten.oci", "--root", str(self.root / "state"), *words]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=30)
            out.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read())

    def configure(self, *command: str) -> None:
        path = self.bundle / "config.json"
        spec = json.loads(path.read_text())
        spec["process"] |= {"args": list(command), "terminal": False}
        spec["linux"]["cgroupsPath"] = f"/corten-oci-test-{os.getpid()}"
        path.write_text(json.dumps(spec))

    def change(self, **sections: Any) -> None:
        """Replace whole sections of config.json; those of the processes and of linux are merged."""
        path = self.bundle / "config.json"
        spec = json.loads(path.read_text())
        for name, value in sections.items():
            spec[name] = {**spec[name], **value} if name in ("process", "linux", "root") else value
        path.write_text(json.dumps(spec))
