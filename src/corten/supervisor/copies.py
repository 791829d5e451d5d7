"""Short-lived children that bring files of other trees into a layer, as `supervisor.steps` makes one of a RUN."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from corten.errors import Invalid
from corten.kernel import mount as m
from corten.kernel import paths
from corten.layers import sources, tree
from corten.layers.bring import Bringing, How
from corten.layers.bring_packed import PackedBringing
from corten.layers.confine import confine
from corten.layers.earlier import Earlier
from corten.layers.header import BLOCK, parse_header
from corten.layers.pack import Packer
from corten.layers.sums import Memory, Sum
from corten.layers.union import Directory, look_like
from corten.runtime import identity
from corten.spec import modes
from corten.spec.dockerfile import glob
from corten.spec.dockerfile.ignore import Patterns
from corten.supervisor import views, wire
from corten.supervisor.failures import tried
from corten.supervisor.steps import base_of, serve

Json = dict[str, Any]

_ARCHIVES = 60  # as descriptors in one frame
_FILES = 1 << 14  # descriptors: two for each level of a tree, of which a path that is not too long has 2048


def copy(request: Json, fds: list[int]) -> None:
    """Bring request["sources"] into the empty layer fds[2], and send that to fds[1]: at once for a single directory.

    What is known of files in the source (`layers.sums.Memory`) is read from fds[3], where there is one, and their
    digests are written to fds[4] as the tar has them. fds[5], with them, is for the next copy of the same directory
    (`layers.earlier`): it has what came the last time, which is below the layer, where request["earlier"] says so, and
    else gets what comes, where the answer's "brought" says so. "made" are bytes of the files that are in the layer.

    request["same"]: where all that would come is what came then, nothing is brought, and the answer is {"same": true}.

    request["beside"]: fds[2] has the layer and the tree of the one source, by these names, and the files of that may be
    the layer's as well.
    """
    done: list[tuple[int, int]] = []
    left: list[Callable[[Packer], PackedBringing]] = []

    def work() -> Json:
        os.umask(0)
        own, below, beside = m.view(fds[2]), base_of(request), request["beside"]
        trees = [views.of_mount(entry) for entry in request["trees"]] if not beside else []
        confine(own, *below, *trees, files=_FILES)
        if beside:
            own, *trees = (tree.open_directory(os.fsencode(name), own) for name in beside)
        top = Directory(tree.open_directory(b".", own), tree.open_directory(b".", below[0]) if below else -1)
        if below:
            look_like(top.own, top.base)
        earlier = Earlier(_read(fds[5])) if request.get("earlier") else None
        copies = _Copies(request, top, trees, lambda: Memory(_read(fds[3]) if len(fds) > 3 else b""), earlier)
        if copies.one_directory:
            if request.get("same") and copies.same:
                return {"same": True}
            left.append(copies.pack)
        else:
            done.append((own, copies.bring()))
        return {}

    def send() -> Json:
        if not left and not done:
            return {}
        packer = Packer(fds[1], digests=fds[4] if len(fds) > 4 else -1)
        if not left:
            own, size = done[0]
            packer.tree(own)
            packer.end()
            return {"size": size, "left_out": packer.left_out}
        bringing = left[0](packer)
        packer.end()
        brought = bringing.brought if len(fds) > 5 else None
        if brought is not None and not request.get("earlier"):
            _write(fds[5], brought.packed())
        known = brought is not None
        return {"size": bringing.size, "left_out": packer.left_out, "brought": known, "made": bringing.made}

    serve(fds[0], work, send)


def sum(request: Json, fds: list[int]) -> None:
    """The digest of request["sources"]. What is known of files is read from fds[1], and written to fds[2]."""

    def work() -> Json:
        trees = [views.of_mount(entry) for entry in request["trees"]]
        confine(*trees, files=_FILES)
        memory = Memory(_read(fds[1]))
        exclude = Patterns(request["exclude"])
        whole = Sum(memory, bool(request["owned"]), exclude)
        for found in _found(request, trees):
            if found.wanted is None:
                whole.one(found.root, found.name)
            elif not whole.parts(found.root, found.name, found.wanted):
                _check_there(found)
        _write(fds[2], memory.packed(request["memory"]))
        return {"digest": whole.digest}

    serve(fds[0], work, None)


def _read(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def _write(fd: int, data: bytes) -> None:
    with open(fd, "wb", closefd=False) as file:
        file.write(data)


def files(request: Json, fds: list[int]) -> None:
    """Descriptors of those of request["sources"] that are regular files and begin as request["heads"] says, or as a
    tar does: {"numbers"} are theirs among all that is named."""
    reply = socket.socket(fileno=fds[0])
    held: list[int] = []

    def work() -> Json:
        trees = [views.of_mount(entry) for entry in request["trees"]]
        confine(*trees, files=_FILES)
        heads, numbers = [bytes.fromhex(head) for head in request["heads"]], list[int]()
        for number, found in enumerate(_found(request, trees)):
            if found.packed:
                continue
            seen = sources.opened(found.root, found.name)
            if stat.S_ISREG(os.fstat(seen).st_mode) and _begins(fd := paths.reopen(seen, os.O_RDONLY), heads):
                held.append(fd)
                numbers.append(number)
            os.close(seen)
            if len(held) > _ARCHIVES:
                raise Invalid(f"more than {_ARCHIVES} archives in one ADD")
        return {"numbers": numbers}

    frame = tried(work)
    with suppress(BrokenPipeError):
        wire.send(reply, frame, held if "ok" in frame else ())
    os._exit(0)


def _begins(fd: int, heads: list[bytes]) -> bool:
    head = os.pread(fd, BLOCK, 0)
    try:
        return head.startswith(tuple(heads)) or (len(head) == BLOCK and parse_header(head) is not None)
    except Invalid:
        return False


def user(request: Json, fds: list[int]) -> None:
    """Look request["user"] up in the tree below. Invalid when it is not there."""

    def work() -> Json:
        below = base_of(request)
        confine(*below)
        if below:
            identify(below[0], request["user"])
        return {}

    serve(fds[0], work, None)


class _Found(NamedTuple):
    """One thing that was named: where, and with `--parents` what is wanted there. `pattern` is what named it. `packed`:
    an archive stays a file."""

    root: int
    owned: bool
    name: bytes
    wanted: Patterns | None
    pattern: str
    packed: bool


def _found(request: Json, trees: list[int]) -> list[_Found]:
    found: list[_Found] = []
    for source in request["sources"]:
        root, owned, packed = trees[source["tree"]], bool(source["owned"]), bool(source.get("packed"))
        for path in source["paths"]:
            if request["parents"]:
                above, wanted = sources.pivoted(path)
                found.append(_Found(root, owned, os.fsencode(above), wanted, path, packed))
            else:
                found += [_Found(root, owned, name, None, path, packed) for name in sources.hits(root, path)]
    return found


class _Copies:
    """What a COPY brings to `top`. `bring` and `pack` say how many bytes files have."""

    def __init__(
        self,
        request: Json,
        top: Directory,
        trees: list[int],
        memory: Callable[[], Memory],
        earlier: Earlier | None,
    ) -> None:
        self._earlier = earlier
        self._top, self._trees = top, trees
        self._memory = memory
        self._target = os.fsencode(request["target"])
        self._owner = _owner(top, request["owner"])
        mode, keyword = modes.parse(request["mode"]) if request["mode"] else None, request["classic"]
        exclude = Patterns(request["exclude"])
        self._how = How(self._owner or (0, 0), mode, request["times"], exclude, bool(keyword))
        self._given = len([path for source in request["sources"] for path in source["paths"]])
        self._found = _found(request, trees)
        if keyword and self._given:
            _check_classic(keyword, len(self._found), self._target)
        self._archives = dict(request["archives"])
        self._beside = bool(request["beside"])

    @property
    def one_directory(self) -> bool:
        if self._given != 1 or len(self._found) != 1 or self._archives or self._found[0].wanted is not None:
            return False
        seen = sources.opened(self._found[0].root, self._found[0].name)
        try:
            return stat.S_ISDIR(os.fstat(seen).st_mode)
        finally:
            os.close(seen)

    @property
    def same(self) -> bool:
        """Whether the one directory has what it had when it was copied before."""
        (each,) = self._found
        seen = sources.opened(each.root, each.name)
        try:
            return self._earlier is not None and self._earlier.all_of(seen, self._how.exclude)
        finally:
            os.close(seen)

    def pack(self, packer: Packer) -> PackedBringing:
        """The one directory, which goes into the tar too."""
        (each,) = self._found
        how, memory = self._how_of(each), self._memory()
        bringing = PackedBringing(self._top, how, packer, self._beside, memory.known, memory.plain, self._earlier)
        bringing.one(each.root, each.name, self._target, False)
        return bringing

    def bring(self) -> int:
        if not self._given:
            Bringing(self._top, self._how).directory(self._target)
        folder, size = self._given > 1 or len(self._found) > 1, 0
        for number, each in enumerate(self._found):
            if number in self._archives:
                Bringing(self._top, self._how).directory(self._target)
                plain = Bringing(self._top, How(None, None, self._how.times, replace=self._how.replace))
                plain.one(self._trees[self._archives[number]], b".", self._target, folder)
                continue
            bringing = Bringing(self._top, self._how_of(each))
            if each.wanted is None:
                bringing.one(each.root, each.name, self._target, folder)
            elif not bringing.parts(each.root, each.name, each.wanted, self._target):
                _check_there(each)
            size += bringing.size
        return size

    def _how_of(self, each: _Found) -> How:
        return self._how._replace(owner=None) if each.owned and self._owner is None else self._how


def _check_classic(keyword: str, count: int, target: bytes) -> None:
    if not count:
        raise Invalid(f"{keyword} failed: no source files were specified")
    if count > 1 and not target.endswith(b"/"):
        text = "with more than one source file, the destination must be a directory and end with a /"
        raise Invalid(f"When using {keyword} {text}")


def _check_there(found: _Found) -> None:
    """A path without wildcards that `--parents` did not find is an error, as without it."""
    if not glob.is_pattern(found.pattern):
        os.close(sources.opened(found.root, os.fsencode(sources.clean(found.pattern))))


def _owner(top: Directory, text: str) -> tuple[int, int] | None:
    """USER[:GROUP], looked up in the tree that is copied to; None for "". A number alone is user and group."""
    if not text:
        return None
    user, colon, _ = text.partition(":")
    if user.isascii() and user.isdigit() and not colon:
        text = f"{user}:{user}"
    return identify(top.base if top.base >= 0 else top.own, text)


def identify(root: int, user: str) -> tuple[int, int]:
    try:
        who = identity.resolve(root, user)
    except identity.UnknownUser as error:
        raise Invalid(str(error)) from None
    return who.uid, who.gid
