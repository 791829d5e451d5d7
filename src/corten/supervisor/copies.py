"""Short-lived children that bring files of other trees into a layer, as `supervisor.steps` makes one of a RUN."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from typing import Any, NamedTuple

from corten.errors import Invalid
from corten.kernel import mount as m
from corten.kernel import paths
from corten.layers import sources, tree
from corten.layers.bring import Bringing, How
from corten.layers.confine import confine
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
    """Bring request["sources"] into the empty layer fds[2], and send it to fds[1]."""
    done: list[tuple[int, int]] = []

    def work() -> Json:
        os.umask(0)
        own, below = m.view(fds[2]), base_of(request)
        trees = [views.of_mount(entry) for entry in request["trees"]]
        confine(own, *below, *trees, files=_FILES)
        top = Directory(tree.open_directory(b".", own), tree.open_directory(b".", below[0]) if below else -1)
        if below:
            look_like(top.own, top.base)
        done.append((own, _copy(request, top, trees)))
        return {}

    def send() -> Json:
        own, size = done[0]
        packer = Packer(fds[1])
        packer.tree(own)
        packer.end()
        return {"size": size, "left_out": packer.left_out}

    serve(fds[0], work, send)


def sum(request: Json, fds: list[int]) -> None:
    """The digest of request["sources"]. What is known of files is read from fds[1], and written to fds[2]."""

    def work() -> Json:
        trees = [views.of_mount(entry) for entry in request["trees"]]
        confine(*trees, files=_FILES)
        with open(fds[1], "rb", closefd=False) as file:
            memory = Memory(file.read())
        exclude = Patterns(request["exclude"])
        whole = Sum(memory, bool(request["owned"]), exclude)
        for found in _found(request, trees):
            if found.wanted is None:
                whole.one(found.root, found.name)
            elif not whole.parts(found.root, found.name, found.wanted):
                _check_there(found)
        with open(fds[2], "wb", closefd=False) as file:
            file.write(memory.packed(request["memory"]))
        return {"digest": whole.digest}

    serve(fds[0], work, None)


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


def _copy(request: Json, top: Directory, trees: list[int]) -> int:
    """Bytes of the files that were brought."""
    owner, target = _owner(top, request["owner"]), os.fsencode(request["target"])
    mode = modes.parse(request["mode"]) if request["mode"] else None
    plain = How(owner or (0, 0), mode, request["times"], Patterns(request["exclude"]))
    given = [path for source in request["sources"] for path in source["paths"]]
    if not given:
        Bringing(top, plain).directory(target)
    found = _found(request, trees)
    folder, size = len(given) > 1 or len(found) > 1, 0
    archives = dict(request["archives"])
    for number, each in enumerate(found):
        if number in archives:
            Bringing(top, plain).directory(target)
            Bringing(top, How(None, None, request["times"])).one(trees[archives[number]], b".", target, folder)
            continue
        how = plain._replace(owner=None) if each.owned and owner is None else plain
        bringing = Bringing(top, how)
        if each.wanted is None:
            bringing.one(each.root, each.name, target, folder)
        elif not bringing.parts(each.root, each.name, each.wanted, target):
            _check_there(each)
        size += bringing.size
    return size


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
