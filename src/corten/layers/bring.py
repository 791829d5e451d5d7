"""Files of other trees, brought into a layer that is being made: COPY and ADD of a Dockerfile, as BuildKit does them.

    bringing = Bringing(Directory(layer, below), how)
    bringing.one(tree, b"src", b"/app/")          # what is at `src` in the tree, to /app/
    bringing.size                                 # bytes of its files

A directory's content is merged into the target; a file replaces what is there, but no directory unless `How.replace`
says so. Sources may be hostile: what is opened was looked at first, and depth and number of things are theirs: nothing
recurses.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from corten.errors import Invalid
from corten.kernel import paths, xattr
from corten.layers import attributes, leaf, tree
from corten.layers.limits import quoted
from corten.layers.sources import Level, Step, base, opened, walk
from corten.layers.union import Directory, Owner, find
from corten.layers.whiteout import is_whiteout
from corten.spec.dockerfile.ignore import Patterns
from corten.spec.modes import Mode

_BENEATH = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_MADE = 0o755  # of directories that are made on the way to a target
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG)


class How(NamedTuple):
    """`owner` None: as in the source; `mode` None too. `times` are seconds since the epoch for everything that is made;
    None: those of the source. `replace`: a file takes the place of a directory."""

    owner: Owner | None = (0, 0)
    mode: Mode | None = None
    times: int | None = None
    exclude: Patterns = Patterns(())
    replace: bool = False


class Bringing:
    """`top` is the layer; nothing of what is below it is changed. Raises Invalid, NotFound, OSError."""

    def __init__(self, top: Directory, how: How) -> None:
        self._top = top
        self._how = how
        self._links: dict[tuple[int, int], bytes] = {}  # the copies of files that have several names
        self.size = 0

    def directory(self, target: bytes) -> Directory:
        """The directory `target`, made where it is not there, with those above it."""
        here, missing = find(self._top, target)
        if missing and here.status(missing[0]) is not None:
            raise Invalid(f"cannot copy to non-directory: {quoted(target)}")
        return self._made(here, missing)

    def _made(self, here: Directory, names: list[bytes]) -> Directory:
        for name in names:
            above, here = here, here.make(name, _MADE, self._how.owner or (0, 0))
            self._touch(here)
            self._touch(above)
        return here

    def one(self, root: int, name: bytes, target: bytes, folder: bool) -> None:
        """What `name` is in the tree `root`, links followed inside it. `folder`: a file comes into the directory
        `target`, not into its place."""
        seen = opened(root, name)
        try:
            status = os.fstat(seen)
            if stat.S_ISDIR(status.st_mode):
                self._content(seen, target)
            elif not self._how.exclude.excludes(os.fsdecode(base(name))):
                self._leaf(*self._place(name, target, folder), seen, status)
        finally:
            os.close(seen)

    def parts(self, root: int, name: bytes, wanted: Patterns, target: bytes) -> bool:
        """Those things below the directory `name` that are `wanted`, with the directories that they are in; whether
        there are any."""
        seen = opened(root, name)
        try:
            return self._walk(seen, wanted, target, None)
        finally:
            os.close(seen)

    # ------------------------------------------------------------------------------------------------- directories

    def _content(self, seen: int, target: bytes) -> None:
        self._walk(seen, None, target, self._target(target))

    def _target(self, target: bytes) -> Directory:
        """What a directory's content comes into."""
        _, missing = find(self._top, target)
        place = self.directory(target)
        if missing and self._how.mode is not None and self._how.mode.fixed is not None:
            os.fchmod(place.own, self._how.mode.fixed)
        return place

    def _walk(self, seen: int, wanted: Patterns | None, target: bytes, place: Directory | None) -> bool:
        """`place` is the copy of the top, which is made when something comes into it where it is None."""
        for step in walk(seen, self._how.exclude, wanted):
            level = step.level
            if level.above is None and level.place is None:
                level.place = place
            if step.what == "thing":
                self._thing(self._copy(level, target), step)
            elif step.what == "in":
                self._copy(level, target)
            elif level.place is not None:
                place = place or level.place
                self._leave(level)
                if level.above is None:
                    self._touch(level.place)
                else:
                    self._describe(level.place.have(), level.fd, level.status)
        return place is not None

    def _thing(self, above: Directory, step: Step) -> None:
        self._leaf(above, step.name, step.seen, step.status)

    def _copy(self, level: Level, target: bytes) -> Directory:
        """The copy of a directory, made when it is needed."""
        waiting = []
        here: Level | None = level
        while here is not None and here.place is None:
            waiting.append(here)
            here = here.above
        for each in reversed(waiting):
            if each.above is None:
                each.place = self.directory(target)
            else:
                each.place = self._entered(each.above.place, each.name)
                self._made_copy(each, each.above)
        found: Directory = level.place
        return found

    def _leave(self, level: Level) -> None:
        """Everything of a directory is in its copy."""

    def _made_copy(self, level: Level, above: Level) -> None:
        """Of a directory in `above`: it gets its looks when all is in it."""

    def _entered(self, above: Directory, name: bytes) -> Directory:
        there = above.status(name)
        if there is None:
            return above.make(name, 0o700, (0, 0))
        if not stat.S_ISDIR(there.st_mode):
            raise Invalid(f"cannot copy to non-directory: {quoted(_joined(above, name))}")
        return above.enter(name)

    # ------------------------------------------------------------------------------------------------------ things

    def _place(self, name: bytes, target: bytes, folder: bool) -> tuple[Directory, bytes]:
        """Where a file that was named comes to."""
        here, missing = find(self._top, target)
        if not missing:
            return here, base(name)
        if folder or target.endswith(b"/"):
            return self.directory(target), base(name)
        return self._made(here, missing[:-1]), missing[-1]

    def _leaf(self, above: Directory, name: bytes, seen: int, status: os.stat_result) -> None:
        """A thing that is no directory, in the place of what is there."""
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK or is_whiteout(status):
            return  # layers have none of the first; the second would say that something below is gone
        there = above.status(name)
        if there is not None and stat.S_ISDIR(there.st_mode) and not self._how.replace:
            raise Invalid(f"cannot replace to directory {quoted(_joined(above, name))} with file")
        into = above.have()
        if there is not None:
            tree.remove(into, name)  # what is below is hidden by what comes
        regular = kind == stat.S_IFREG
        if regular and status.st_nlink > 1 and self._linked(above, name, status):
            return
        leaf.copy(into, name, seen, status, self._describe)
        self.size += status.st_size if regular else 0

    def _linked(self, above: Directory, name: bytes, status: os.stat_result) -> bool:
        """A further name of what was copied already is one of the copy, where that is there."""
        key = status.st_dev, status.st_ino
        first = self._links.get(key)
        path = above.path.strip(b"/")
        here = path + b"/" + name if path else name
        if first is None:
            self._links[key] = here
            return False
        directory, _, last = first.rpartition(b"/")
        try:
            held = paths.openat2(self._top.own, directory or b".", os.O_PATH | os.O_DIRECTORY, 0, _BENEATH)
            try:
                os.link(last, name, src_dir_fd=held, dst_dir_fd=above.have(), follow_symlinks=False)
            finally:
                os.close(held)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return False
            raise
        return True

    def _describe(self, made: int | bytes, model: int | bytes, status: os.stat_result) -> None:
        """Owner, mode, attributes and times of a copy."""
        times = None if self._how.times is None else (self._how.times * 10**9,) * 2
        attributes.describe(made, status, self._owner(status), xattr.all_of(model), self._mode(status), times)

    def _owner(self, status: os.stat_result) -> Owner:
        return self._how.owner or (status.st_uid, status.st_gid)

    def _mode(self, status: os.stat_result) -> int | None:
        """None: as in the source."""
        mode = self._how.mode
        return mode.of(stat.S_IMODE(status.st_mode), stat.S_ISDIR(status.st_mode)) if mode is not None else None

    def _touch(self, place: Directory) -> None:
        """A directory that was made, or that something was put into, when times are given."""
        if self._how.times is not None and place.own >= 0:
            os.utime(place.own, (self._how.times, self._how.times))


def _joined(above: Directory, name: bytes) -> bytes:
    return above.path.rstrip(b"/") + b"/" + name
