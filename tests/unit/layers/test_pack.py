"""Files that others have something to do with, while they are packed."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from corten.layers.pack import Packer
from leases import leased


def test_a_leased_file_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content\n")
    os.mkfifo(tmp_path / "fifo")
    out, fd = os.memfd_create("tar"), os.open(tmp_path, os.O_RDONLY)
    try:
        with leased(tmp_path / "file", 0.2):
            packer = Packer(out)
            packer.tree(fd)
            packer.end()
        with tarfile.open(fileobj=io.BytesIO(os.pread(out, os.fstat(out).st_size, 0))) as tar:
            read = tar.extractfile("file")
            assert read is not None and read.read() == b"content\n"
            assert tar.getmember("fifo").isfifo()
    finally:
        os.close(out)
        os.close(fd)
