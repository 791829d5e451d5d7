"""The archive that every engine loads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from bench import image


def test_the_archive_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/true").write_bytes(b"\x7fELF")
    with tarfile.open(fileobj=io.BytesIO(image.docker_archive(tmp_path, "bench/x:latest"))) as tar:
        contents = {member.name: member_bytes(tar, member) for member in tar}
    (entry,) = json.loads(contents["manifest.json"])
    config = contents[entry["Config"]]
    layer = contents[entry["Layers"][0]]
    assert entry["RepoTags"] == ["bench/x:latest"]
    assert entry["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
    assert json.loads(config)["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert tar.getnames() == ["bin", "bin/true"]


def member_bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()
