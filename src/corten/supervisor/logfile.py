"""A container's output on disk, in Docker's json-file format, rotated.

A record is one line: {"log": TEXT, "stream": "stdout", "time": RFC 3339 with nanoseconds}. TEXT ends in a newline,
unless the container's line was longer than 16 KiB: then it comes in pieces of at most 16 KiB and only the last one has
the newline. Bytes that are not UTF-8 become U+FFFD, as Go writes them.

The path is rotated to PATH.1, PATH.2, ... so that there are never more than `max_file` files. Writing never fails the
container: what the disk refuses is counted, and said in the next record that fits.
"""

from __future__ import annotations

import os
import time
from json.encoder import encode_basestring

PIECE = 16 * 1024


class LogFile:
    """One writer of one log. `path` "" keeps nothing."""

    def __init__(self, path: str, max_size: int, max_file: int, attrs: str = "") -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._tail = f',"attrs":{attrs}' if attrs else ""
        self._rest: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._lost = 0
        self._size = 0
        self._fd = -1
        if path:
            self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size
        if self._size and not self._ends_in_newline():
            self._size += os.write(self._fd, b"\n")  # a record that a crash has torn: readers skip it

    def _ends_in_newline(self) -> bool:
        with open(self._path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def write(self, stream: str, data: bytes) -> None:
        """Keep `data`; the last, unfinished line waits for its end or for 16 KiB."""
        if not self._path:
            return
        data = self._rest[stream] + data
        whole = data.rfind(b"\n") + 1
        lines, rest = data[:whole], data[whole:]
        pieces = []
        while len(rest) >= PIECE:
            cut = _character_boundary(rest, PIECE)
            pieces.append(rest[:cut])
            rest = rest[cut:]
        self._rest[stream] = rest
        if lines or pieces:
            self._records(stream, lines, pieces)

    def flush(self) -> None:
        """Write unfinished lines as they are: the container has ended."""
        for stream, rest in self._rest.items():
            if rest:
                self._records(stream, b"", [rest])
            self._rest[stream] = b""

    def close(self) -> None:
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _records(self, stream: str, lines: bytes, pieces: list[bytes]) -> None:
        end = f',"stream":"{stream}"{self._tail},"time":"{timestamp(time.time_ns())}"}}\n'
        text = _encode_lines(lines, end) if lines else ""
        text += "".join(f'{{"log":{encode_basestring(p.decode("utf-8", "replace"))}{end}' for p in pieces)
        if self._lost:
            note = f"[corten: {self._lost} bytes of this log could not be written]\n"
            text = f'{{"log":{encode_basestring(note)}{end}' + text
        self._append(text.encode("utf-8", "replace"), len(lines) + sum(map(len, pieces)))

    def _append(self, records: bytes, content: int) -> None:
        """Write records, over as many files as they fill."""
        try:
            while records:
                if self._fd < 0:
                    self._open()
                part = self._fitting(records)
                if not part:
                    self._rotate()
                    part = self._fitting(records) or records  # when nothing could be rotated the log still goes on
                if not self._write(part):
                    self._lost += content
                    return
                records = records[len(part) :]
            self._lost = 0
        except OSError:
            self._lost += content

    def _fitting(self, records: bytes) -> bytes:
        """The first records, as many as this file has room for; one too large for any file gets one of its own."""
        room = self._max_size - self._size
        if self._max_size <= 0 or len(records) <= room:
            return records
        whole = records.rfind(b"\n", 0, max(room, 0)) + 1
        if not whole and not self._size:
            whole = records.find(b"\n") + 1
        return records[:whole]

    def _write(self, part: bytes) -> bool:
        written = os.write(self._fd, part)
        if written < len(part):  # the disk became full in the middle: the torn record must not spoil the next
            os.ftruncate(self._fd, self._size)
            return False
        self._size += written
        return True

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1  # and stays so when the new file cannot be made: the next record tries again
        for number in range(self._max_file - 1, 0, -1):
            older = self._path if number == 1 else f"{self._path}.{number - 1}"
            try:
                os.replace(older, f"{self._path}.{number}")
            except OSError:
                pass  # it was not there, or another program removed it: the log goes on
        if self._max_file == 1:
            try:
                os.unlink(self._path)  # not truncated: who follows it has it open, and reads the rest
            except OSError:
                pass
        self._open()


def _encode_lines(lines: bytes, end: str) -> str:
    """All of `lines`, each as a record. Quick because Python never sees a single line where that can be avoided."""
    text = lines.decode("utf-8", "replace")
    if "\\" not in text and max(map(len, text.split("\n"))) < PIECE:
        # Without a backslash in it, every \n of the encoded text is a line's end. One encode, one replace.
        return '{"log":"' + encode_basestring(text)[1:-3].replace("\\n", '\\n"' + end + '{"log":"') + '\\n"' + end
    records = []
    for line in text[:-1].split("\n"):
        while len(line) > PIECE:
            records.append('{"log":' + encode_basestring(line[:PIECE]) + end)
            line = line[PIECE:]
        records.append('{"log":' + encode_basestring(line + "\n") + end)
    return "".join(records)


def _character_boundary(data: bytes, cut: int) -> int:
    """The largest index up to `cut` that does not split a UTF-8 character."""
    at = cut
    while at > cut - 4 and at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


_second = (0, "")


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine decimals, as Docker writes it. The formatting of a second is done once."""
    global _second
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if _second[0] != seconds:
        _second = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)))
    return f"{_second[1]}.{rest:09d}Z"
