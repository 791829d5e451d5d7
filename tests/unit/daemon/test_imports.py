"""What a daemon carries before anything was asked of it."""

from __future__ import annotations

import subprocess
import sys

LATER = ("corten.buildkit", "corten.http2", "corten.spec.protobuf", "corten.spec.dockerfile", "hpack")
#: Of the builder: what the start sweeps, and which blobs and trees the cache keeps.
OF_BUILDS = {
    "corten.build", "corten.build.cache", "corten.build.cache.cache", "corten.build.work", "corten.build.work.memory",
    "corten.build.work.recovery",
}  # fmt: skip
PROGRAM = "import sys, corten.daemon.assemble, corten.daemon.main; print('\\n'.join(sys.modules))"


def test_what_builds_need_comes_with_the_first_of_them() -> None:
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if name.startswith("corten.build")} == OF_BUILDS
    assert not [name for name in loaded if name.startswith((*LATER, "corten.api.build", "corten.api.secrets"))]


def test_what_moves_images_and_guests_comes_with_the_first_use() -> None:
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    moving = ("builtin", "importing", "load", "pull", "push", "remote", "save", "source")
    assert "corten.images.images" in loaded and not {f"corten.images.{name}" for name in moving} & {*loaded}
    assert "corten.guests.guests" in loaded
    of_guests = {name for name in loaded if name.startswith("corten.vm.")}
    assert of_guests <= {"corten.vm.architectures", "corten.vm.contract", "corten.vm.planning"}
