"""Numbers with a notation of their own in files."""

from __future__ import annotations

from corten.units.durations import go_duration


class Bytes(int):
    """A size; printed as a text of digits: "67108864"."""

    def __str__(self) -> str:
        return int.__repr__(self)


class Duration(int):
    """Nanoseconds; printed as Go does: 1m30s."""

    def __str__(self) -> str:
        return go_duration(self)


class FileMode(int):
    """Permissions; printed in octal: "0440"."""

    def __str__(self) -> str:
        return f"0{int(self):o}"
