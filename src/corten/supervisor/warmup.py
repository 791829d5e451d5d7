"""What the launcher does once, so that each supervisor has less memory of its own.

A supervisor shares the launcher's pages until it writes to them, and Python writes where one would not expect it: to
the reference count of whatever it uses, to the bytecode and caches of a function in its first executions, and a new
object goes wherever a page has room left. So the launcher lives a supervisor's whole life before anything is forked,
lays together what that executes, and takes all the room itself.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections import _tuplegetter  # type: ignore[attr-defined]
from collections.abc import Callable, Collection
from types import CodeType, FunctionType
from typing import Any, NoReturn, TypeVar

from corten.kernel import mount
from corten.kernel import process as p
from corten.kernel.cgroupfs import Hierarchy
from corten.runtime import cgroups, messages
from corten.supervisor import place, wire
from corten.supervisor.clone import Inputs
from corten.supervisor.forked import inherit
from corten.supervisor.requests import Create
from corten.supervisor.supervise import live

T = TypeVar("T")

_ROUNDS = 20  # specialisation waits for 16 executions (PEP 659)
# CPython keeps small objects of one size in pools of 16 KiB, each with a header (Objects/obmalloc.c).
_POOL = 16 << 10
_HEADER = 48
_LARGEST, _SMALLEST = 96 << 10, 512  # bytes of what is made at once from the C library's heap, and not from a pool
_CACHED = 1088  # bytes at most of what is not merged with its neighbours when it is freed (malloc(3): tcache)
_PAGE = 4096
_MOST = 4  # pools of one size that are filled at most
_WITH_REQUESTS = ("corten.instance.", "corten.supervisor.")
_DESCRIPTORS = 100  # more than the launcher has

_kept: list[object] = []  # for as long as the launcher lives


def warm_up() -> None:
    """Lives of a container without the container. Leaves nothing behind."""
    cgroups.here()
    directory = mount.new("tmpfs", ("mode=700",))  # mounted nowhere, gone with its descriptor
    place_ = f"/proc/self/fd/{directory}"
    try:
        os.mkdir(f"{place_}/group")
        for _ in range(2):  # what is made once, and then stays
            _rehearse(place_)
        _lay_together(_executed(lambda: _rehearse(place_)))
        for _ in range(_ROUNDS):
            _rehearse(place_)
    finally:
        os.close(directory)


def _executed(work: Callable[[], None]) -> list[CodeType]:
    """In the order in which it was executed first."""
    found: dict[CodeType, None] = {}
    sys.setprofile(lambda frame, event, _: found.setdefault(frame.f_code) if event == "call" else None)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(found)


def _lay_together(executed: list[CodeType]) -> None:
    """Move this code, its constants, its functions and the fields of typed requests to pages of their own. What lay
    between them is not used, and stays shared."""
    functions = {found.__code__: found for found in gc.get_objects() if type(found) is FunctionType}
    gc.collect()
    fill()
    used = [functions[code] for code in executed if code in functions]
    constants = Constants(frozenset(executed))
    for function in used:
        function.__code__ = constants.moved(function.__code__, function.__doc__)
    _put_in_place({function: _copy(function) for function in used})
    _put_values_in_place(executed, constants)
    _kept.extend((executed, used, constants))  # or something new would get their places


class Constants:
    """Copies of what code loads, each once, and of the code within it that was executed, too."""

    def __init__(self, executed: Collection[CodeType]) -> None:
        self._executed = executed
        self._copies: dict[tuple[type, object], Any] = {}

    def moved(self, code: CodeType, doc: str | None = None) -> CodeType:
        """The same code, made anew with copies of its constants, but for `doc`, which is not loaded."""
        return code.replace(co_consts=tuple(value if value is doc else self.copy(value) for value in code.co_consts))

    def copy(self, value: T) -> T:
        """An equal object; `value` itself of a kind that has one object for all."""
        kind = type(value)
        key = (kind, value if kind in (str, bytes, int) else id(value))  # 0.0 equals -0.0, and (1,) equals (True,)
        if key not in self._copies:
            self._copies[key] = self._code(value) if isinstance(value, CodeType) else _constant(value)
        found: T = self._copies[key]
        return found

    def _code(self, code: CodeType) -> CodeType:
        """Of a closure: each function that is made of it has references to its names."""
        if code not in self._executed:
            return code
        return self.moved(code).replace(co_name=self.copy(code.co_name), co_qualname=self.copy(code.co_qualname))


def _constant(value: object) -> object:
    match value:
        case str():
            return value[:1] + value[1:]
        case bytes():
            return value[:1] + value[1:]
        case bool():
            return value
        case int() | float():
            return type(value)(repr(value))
        case tuple():
            return (*value,)  # of the same members: names of arguments are looked for by their identity
    return value


def _copy(function: FunctionType) -> FunctionType:
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    return copy


def _put_in_place(copies: dict[FunctionType, FunctionType]) -> None:
    """Functions where modules and classes have them, and the descriptors of NamedTuples' fields. A reference that is
    somewhere else keeps the old function, which does the same."""
    modules = [module for name, module in sys.modules.items() if name != "__main__"]
    classes = dict.fromkeys(c for module in modules for c in list(vars(module).values()) if isinstance(c, type))
    for owner in (*modules, *classes):
        for name, value in list(vars(owner).items()):
            if type(value) is FunctionType and value in copies:
                setattr(owner, name, copies[value])
            elif type(value) is staticmethod and value.__func__ in copies:
                setattr(owner, name, staticmethod(copies[value.__func__]))
    for kind in classes:
        if issubclass(kind, tuple) and kind.__module__.startswith(_WITH_REQUESTS):
            fields: tuple[str, ...] = getattr(kind, "_fields", ())
            for number, name in enumerate(fields):
                _kept.append(vars(kind)[name])
                setattr(kind, name, _tuplegetter(number, ""))


def _put_values_in_place(executed: Collection[CodeType], constants: Constants) -> None:
    """Numbers and texts of modules that this code looks up, and the modules' names, to which each closure refers."""
    names = {name for code in executed for name in code.co_names}
    for module in [module for name, module in sys.modules.items() if name.startswith("corten.")]:
        for name, value in list(vars(module).items()):
            if name == "__name__" or (name in names and type(value) in (int, float, str, bytes)):
                setattr(module, name, constants.copy(value))


def fill() -> None:
    """Keep objects in all room that is free between others, in the pools and in the heap."""
    _fill_pools()
    _fill_heap()


def _fill_heap() -> None:
    """Objects that are too large for pools, wherever the C library has a free piece below the end of its heap."""
    last = bytes(_LARGEST)
    for size in (*range(_LARGEST, _PAGE, -_PAGE), *range(_PAGE, _SMALLEST, -16)):
        while id(filler := bytes(size - b"".__sizeof__())) < id(last):
            _kept.append(filler)
        if size <= _CACHED:
            _kept.append(filler)
        del filler


def _fill_pools() -> None:
    """Keep small objects in every place that is free in a pool which is partly used.

    What a supervisor makes then begins new pools: it lies together, and no page is copied for the sake of one object.
    """
    for size in range(16, 512 + 1, 16):
        capacity = (_POOL - _HEADER) // size
        taken: dict[int, int] = {}  # by pool
        for _ in range(_MOST * capacity):
            filler = _filler(size)
            _kept.append(filler)
            pool = id(filler) // _POOL
            taken[pool] = taken.get(pool, 0) + 1
            if taken[pool] == capacity:  # a whole one, so there was none with room left
                break


def _filler(size: int) -> object:
    """An object of so many bytes, a multiple of 16 up to 512."""
    if size == 16:
        return object()
    return float("1.5") if size == 32 else bytes(size - b"".__sizeof__())


def _rehearse(place_: str) -> None:
    _life(place_)
    _group(place_)


def _life(place_: str) -> None:
    """One container that says a word and ends, below the directory `place_`."""
    daemon, control = socket.socketpair()
    client, stream = socket.socketpair()
    inherit([*range(_DESCRIPTORS), _DESCRIPTORS + 1])  # with a gap, as there is in life: nothing is open there
    request = {
        "do": "create", "run": f"{place_}/run", "bundle": place_, "clone_namespaces": [], "cgroup": "",
        "open_stdin": True, "log": {"path": os.devnull},
        "streams": [{"mux": True, "stdin": True, "early": "", "detach_keys": "", "replay": ""}],
    }  # fmt: skip
    with daemon, client, stream:
        wire.send(daemon, request, [stream.fileno()])
        wire.send(daemon, {"id": 1, "do": "start"}, [])
        live(control.detach(), _become)


def _group(place_: str) -> None:
    """What a supervisor does for its container's control group, where that is only a directory."""
    layout = cgroups.Layout((Hierarchy(place_, 2, frozenset()),))
    directory = cgroups.make_unified(layout, "/group/container")
    assert directory is not None
    os.close(directory)
    os.rmdir(f"{place_}/group/container")


def _become(request: Create, inputs: Inputs, reply: socket.socket) -> NoReturn:
    """In place of `clone.become`. It has the launcher's ends of all that it waits for, so no end of a connection says
    that the launcher was killed."""
    p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != inputs.supervisor:  # killed before that
        os._exit(1)
    ours, theirs = messages.pair()
    place.prepare(request.run, request.bundle)
    listener = place.settle(request.run, os.getpid(), inputs.supervisor)
    answer = {"own_pids": True, "timing": {}, "warnings": [], "oom": False}
    wire.send(reply, answer, [ours.fileno(), listener.fileno()])
    assert inputs.stdio is not None
    messages.send(theirs, messages.READY, null=inputs.stdio[0], timing={"begin": 0.001}, warnings=[])
    messages.expect(theirs, messages.START)
    os.write(inputs.stdio[1], b"a line\n")
    os._exit(0)
