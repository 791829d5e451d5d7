"""`logs -f` that goes on with the next daemon where the last one ended.

Every entry is asked for with its time, which is taken off again unless it is wanted: so it is known which entry was the
last one shown. Where one ends has to be known for that; our daemon frames a terminal's as well when it is asked to.
"""

from __future__ import annotations

from corten.cli.again import again
from corten.cli.output import STDOUT, show_frames, write_all
from corten.cli.times import timestamp
from corten.client import containers
from corten.client.errors import BadAnswer, Broken
from corten.client.stdcopy import HEADER, SYSTEM_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.client.api import Answer, Client, Query

_FRAMED = "application/vnd.docker.multiplexed-stream"
_LONGEST = 64 << 20  # bytes of an entry


def follow(client: Client, ref: str, query: Query, tty: bool) -> None:
    """Show the output until the container ends. Raises what `again` raises."""
    entries = Entries(bool(query["timestamps"]))
    ask = {**query, "timestamps": "1", "frames": "1"}
    answer = containers.logs(client, ref, ask)
    if tty and answer.head.headers.get("content-type") != _FRAMED:
        answer.close()
        _plainly(client, ref, query)
        return
    while True:
        try:
            for part in answer.parts():
                show_frames(entries.feed(part))
            return
        except Broken as lost:
            answer = _again(client, ref, {**ask, **entries.resume()}, lost)


def _again(client: Client, ref: str, query: Query, lost: Broken) -> Answer:
    return again(lambda: containers.logs(client, ref, query), lost)


def _plainly(client: Client, ref: str, query: Query) -> None:
    """A terminal's output from a daemon that does not frame it: nothing says where an entry begins."""
    for part in containers.logs(client, ref, query).parts():
        write_all(STDOUT, part)


class Entries:
    """Framed entries, each with its time and a blank at its beginning: bytes in, (stream, bytes) out."""

    def __init__(self, with_times: bool) -> None:
        self._with_times = with_times
        self._rest = b""
        self._time = b""  # of the last entry
        self._count = 0  # of entries of this time
        self._skip = 0  # as many of them have been shown already

    def resume(self) -> Query:
        """What of a query changes so that the next entry comes, perhaps behind some that `feed` then leaves out."""
        self._rest = b""
        if not self._time:
            return {}
        self._skip = self._count
        return {"since": timestamp(self._time.decode("latin-1"), "since"), "tail": "all"}

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        """The entries that `data` completes, neighbours of one stream put together. Raises BadAnswer for bad frames."""
        runs: list[tuple[int, list[bytes]]] = []
        for stream, entry in self._whole(bytes(data)):
            text = entry if stream == SYSTEM_ERROR else self._shown(entry)
            if runs and runs[-1][0] == stream:
                runs[-1][1].append(text)
            else:
                runs.append((stream, [text]))
        return [(stream, b"".join(texts)) for stream, texts in runs]

    def _whole(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        data, at = self._rest + data, 0
        while len(data) - at >= HEADER:
            length = int.from_bytes(data[at + 4 : at + HEADER], "big")
            if data[at] > SYSTEM_ERROR or length > _LONGEST:
                raise BadAnswer(f"unrecognized stream frame {data[at : at + HEADER].hex()}")
            end = at + HEADER + length
            if end > len(data):
                break
            yield data[at], data[at + HEADER : end]
            at = end
        self._rest = data[at:]

    def _shown(self, entry: bytes) -> bytes:
        time, _, text = entry.partition(b" ")
        if time == self._time and self._skip:
            self._skip -= 1
            return b""
        self._skip = 0
        self._count = self._count + 1 if time == self._time else 1
        self._time = time
        return entry if self._with_times else text
