"""Times of a tar that are not to be younger."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.layers.retimed import retimed

EPOCH = 1_000_000_000
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def archive(form: int, times: dict[str, float]) -> bytes:
    """With a long name, a link, a directory and a content that is a tar itself."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, time in times.items():
            member = tarfile.TarInfo(name)
            member.mtime = time  # a fraction goes into a PAX record
            member.mode, member.uid = 0o4711, 5
            if form == tarfile.PAX_FORMAT:
                member.pax_headers = {"SCHILY.xattr.user.x": "1", "ctime": f"{time}"}
            if name.startswith("d"):
                member.type = tarfile.DIRTYPE
            elif name.startswith("l"):
                member.type, member.linkname = tarfile.SYMTYPE, "f" * 20
            else:
                member.size = 1500
            tar.addfile(member, io.BytesIO(out.getvalue()[:1500].ljust(1500, b"x")))
    return out.getvalue()


def members(data: bytes) -> list[tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = list[tuple[object, ...]]()
        for each in tar:
            content = tar.extractfile(each) if each.isreg() else None
            records = {key: value for key, value in each.pax_headers.items() if key not in ("mtime", "ctime")}
            found.append((each.name, each.mode, each.uid, each.linkname, content and content.read(), records))
        return found


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_only_times_change_and_only_late_ones(form: int) -> None:
    times = {"f": EPOCH - 5.0, "d": EPOCH + 5.0, "l": EPOCH * 2.0, "f" * (99 if form == 0 else 300): EPOCH + 1.5}
    data = archive(form, times)
    changed = b"".join(retimed([data], EPOCH))
    assert members(changed) == members(data)
    with tarfile.open(fileobj=io.BytesIO(changed)) as tar:
        assert [each.mtime for each in tar] == [EPOCH - 5, EPOCH, EPOCH, EPOCH]
        assert all(float(each.pax_headers.get("ctime", 0)) <= EPOCH for each in tar)
    assert b"".join(retimed([changed], EPOCH)) == changed
    assert b"".join(retimed([data], EPOCH * 3)) == data


@given(st.lists(st.integers(1, 3000), max_size=20))
def test_pieces_may_be_of_any_length(cuts: list[int]) -> None:
    data, pieces, at = archive(tarfile.PAX_FORMAT, {"f": 2.5 * EPOCH, "n" * 200: 1.5 * EPOCH}), list[bytes](), 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    assert b"".join(retimed([*pieces, data[at:]], EPOCH)) == b"".join(retimed([data], EPOCH))


@pytest.mark.parametrize("data", [b"x" * 512, archive(tarfile.PAX_FORMAT, {"f": 1.0})[:700]])
def test_what_is_no_tar(data: bytes) -> None:
    with pytest.raises(Invalid):
        list(retimed([data + b"end"], EPOCH))
