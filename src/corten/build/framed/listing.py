"""A walk in frames, as the receiver of a transfer has it."""

from __future__ import annotations

from collections.abc import Sequence

from corten.build.transfer.receiving import Receiver
from corten.errors import Failed, Invalid
from corten.spec import build_frames as f
from corten.spec import go_modes
from corten.spec.protobuf.session import Stat


class Listing:
    """`feed` frames of one channel; the answer are the numbers of the files that are wanted of it, for WANTED."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._modes: dict[int, int] = {}  # few are different, and each is asked for thousands of times

    def feed(self, frames: Sequence[tuple[int, bytes]]) -> bytes:
        """Raises Invalid for what is refused, Failed for the client's own error, and what the sink raises."""
        wanted: list[int] = []
        for kind, data in frames:
            self._frame(kind, data, wanted)
        self._receiver.finish()
        return f.wanted(wanted)

    def _frame(self, kind: int, data: bytes, wanted: list[int]) -> None:
        receiver = self._receiver
        match kind:
            case f.FILE:
                number, content = f.split(data)
                receiver.data(number, content)
                receiver.end(number)
            case f.PART:
                receiver.data(*f.split(data))
            case f.ENTRIES:
                self._entries(data, wanted)
            case f.END:
                receiver.walked()
            case f.ATTRIBUTES:
                number, given = f.split(data)
                receiver.attributes(number, f.attributes(bytes(given)))
            case f.ERROR:
                raise Failed(f"error from sender: {data[:1000].decode('utf-8', 'replace')}")
            case _:
                raise Invalid(f"the sender of the context sent a frame of the kind {kind}")

    def _entries(self, data: bytes, wanted: list[int]) -> None:
        modes = self._modes
        for mode, size, modified, path, link in f.entries(data):
            if (found := modes.get(mode)) is None:
                found = go_modes.of(mode)
                if len(modes) < _MODES:
                    modes[mode] = found
            number = self._receiver.entry(Stat(path, found, size=size, modified=modified, link=link), len(path))
            if number is not None:
                wanted.append(number)


_MODES = 1000
