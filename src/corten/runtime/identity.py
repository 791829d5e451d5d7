"""Who a program runs as: USER texts, passwd and group files, and the switch to that identity.

The files are the image's, so they are hostile: at most 10 MiB, regular, never waited for, and malformed lines are
skipped. A numeric USER is a number even when a line of /etc/passwd uses it as a name (CVE-2016-3697), and a number
that does not fit is refused, not wrapped (CVE-2024-40635).
"""

from __future__ import annotations

from typing import NamedTuple

from corten.kernel import paths

_LIMIT = 10 << 20
_MAX_ID = 2**31 - 1


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class UnknownUser(Exception):
    """The USER text names no user of this root; the message says which."""


def resolve(root: int, text: str, group_add: tuple[str, ...] = ()) -> Identity:
    """Docker's `USER[:GROUP]` in the tree at descriptor `root`; "" is root. Raises UnknownUser.

    `group_add` are further groups, names or numbers. The primary group is always among the supplementary ones, since a
    file can be closed to a group (CVE-2022-36109).
    """
    user, _, group = text.partition(":")
    passwd = _table(root, "etc/passwd", 7)
    row = _find(passwd, user or "0")
    uid = int(row[2]) if row else _number(user or "0")
    if uid is None:
        raise UnknownUser(f"unable to find user {user}: no matching entries in passwd file")
    name = row[0] if row else ""
    home = row[5] if row and row[5] else "/"
    needs_groups = bool(group or group_add or name)
    table = _table(root, "etc/group", 4) if needs_groups else []
    if group:
        gid = _group(table, group)
        groups = [gid]
    else:
        gid = int(row[3]) if row else 0
        members = [int(g[2]) for g in table if name and name in g[3].split(",")]
        groups = [gid, *members]
    groups += [_group(table, g) for g in group_add]
    return Identity(uid, gid, tuple(dict.fromkeys(groups)), home)


def home_of(root: int, uid: int) -> str:
    """The home of a number, by the tree's passwd file; "/" when that has none."""
    row = next((row for row in _table(root, "etc/passwd", 7) if int(row[2]) == uid), None)
    return row[5] if row and row[5] else "/"


def _group(table: list[list[str]], text: str) -> int:
    row = _find(table, text)
    gid = int(row[2]) if row else _number(text)
    if gid is None:
        raise UnknownUser(f"unable to find group {text}: no matching entries in group file")
    return gid


def _number(text: str) -> int | None:
    """The id that ASCII digits write, None for a name; raises UnknownUser for a number that is no id."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _MAX_ID:
        raise UnknownUser(f"uids and gids must be in range 0-{_MAX_ID}: {text}")
    return int(text)


def _find(table: list[list[str]], text: str) -> list[str] | None:
    number = _number(text)
    if number is not None:
        return next((row for row in table if int(row[2]) == number), None)
    return next((row for row in table if row[0] == text), None)


def _table(root: int, path: str, columns: int) -> list[list[str]]:
    """The well-formed lines of a colon-separated file; an absent file has none, nor has one that a process in the
    container has a lease on (fcntl(2)): or it could keep everything else from being executed there."""
    try:
        content = paths.read_small(root, path, _LIMIT)
    except (FileNotFoundError, NotADirectoryError, BlockingIOError):
        return []
    rows = []
    for line in content.decode("utf-8", "replace").split("\n"):
        row = line.strip().split(":")
        if len(row) >= columns and _is_id(row[2]) and (columns < 7 or _is_id(row[3])):
            rows.append(row)
    return rows


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID
