"""A volume that is filled from an image, by a dockerd and by us: the same tree on the disk."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path
from typing import TypedDict, Unpack

from e2e_parts.clients import Client
from e2e_parts.others import archive, layer
from image_parts.trees import listing

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


class Fields(TypedDict, total=False):
    """Some of a tarfile.TarInfo's."""

    mode: int
    uid: int
    gid: int
    linkname: str
    devmajor: int
    devminor: int
    pax_headers: dict[str, str]


def content() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Unpack[Fields]) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 981173106.25
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data) if data else None)

        member("data", tarfile.DIRTYPE, mode=0o1771, uid=33, gid=44)
        member("data/dir", tarfile.DIRTYPE, mode=0o2750, gid=5, pax_headers={"SCHILY.xattr.user.note": "directory"})
        program: Fields = {"mode": 0o4755, "uid": 33, "pax_headers": {
            "SCHILY.xattr.security.capability": CAPABILITY.decode(errors="surrogateescape"),
            "SCHILY.xattr.user.note": "kept",
        }}  # fmt: skip
        member("data/program", data=b"program", **program)
        alias: Fields = {**program, "linkname": "data/program"}
        member("data/dir/alias", tarfile.LNKTYPE, **alias)  # as tar(1) writes it
        member("data/link", tarfile.SYMTYPE, linkname="/etc/shadow", uid=7)
        member("data/fifo", tarfile.FIFOTYPE, mode=0o640)
        member("data/device", tarfile.CHRTYPE, mode=0o620, devmajor=1, devminor=7)
    return buffer.getvalue()


def test_volume_filled_from_an_image(engines: tuple[Client, Client, Path]) -> None:
    *clients, root = engines
    archive(root / "i.tar", "content:1", [layer({}, programs=True), content()], {"Cmd": ["true"]})
    trees = []
    for client in clients:
        client("load", "-q", "-i", str(root / "i.tar"))
        client("create", "--name", "box", "--network", "none", "-v", "filled:/data", "content:1")
        trees.append(Path(client.out("volume", "inspect", "-f", "{{.Mountpoint}}", "filled")))
    theirs, ours = trees
    assert listing(ours) == listing(theirs)
    assert listing(ours)["program"][-1] == {"security.capability": CAPABILITY, "user.note": b"kept"}
    for path in [ours, *ours.rglob("*")]:
        ours_, theirs_ = path.lstat(), (theirs / path.relative_to(ours)).lstat()
        assert (ours_.st_mode, ours_.st_uid, ours_.st_nlink) == (theirs_.st_mode, theirs_.st_uid, theirs_.st_nlink)
        assert ours_.st_mtime_ns == 981173106_250000000
        if not path.is_dir():  # dockerd's directories have the time at which their last file was made
            assert ours_.st_mtime_ns == theirs_.st_mtime_ns
    assert (ours / "program").samefile(ours / "dir/alias")
