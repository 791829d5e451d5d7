"""The last part of every start, the same for a container's first process and for exec: become the user, execve."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from corten.kernel import apparmor, caps, seccomp
from corten.kernel import process as p
from corten.runtime import identity
from corten.runtime.limits import apply_limits
from corten.spec.default_path import PATH

_TO_FILTER = frozenset({"CAP_SYS_ADMIN"})  # what loading a filter needs without no_new_privs
_GROUPS_ANNOTATION = "dev.corten.groups"  # names of further groups, comma separated, to be looked up in the container


class NotExecutable(Exception):
    """The user's program cannot be executed; `code` is 127 when it is not there, else 126."""

    def __init__(self, text: str, code: int, number: int) -> None:
        super().__init__(text)
        self.code = code
        self.errno = number


class Program:
    """OCI's process object, executed step by step in the order of the callers' lists."""

    def __init__(self, process: dict[str, Any], filter_: bytes | None, userns: bool) -> None:
        self._process = process
        self._filter = filter_
        self._userns = userns
        self._user: dict[str, Any] = process.get("user") or {}
        self._args: list[str] = process.get("args") or []
        self._environment = environment(process.get("env") or ())
        self._identity = identity.Identity(0, 0, (), "/")
        self._path = b""
        self.cwd: str = process.get("cwd") or "/"

    def be_confined(self) -> None:
        """By a profile of AppArmor, from execve on; while the host's /proc is there."""
        if profile := self._process.get("apparmorProfile"):
            apparmor.confine_next_program(profile)

    def find_identity(self) -> None:
        """Numbers from the specification, or Docker's USER text looked up in the files of this root."""
        user = self._user
        text = user.get("username")
        if text is None and not self._process.get("groupNames"):
            groups = tuple(user.get("additionalGids") or ())
            uid = user.get("uid", 0)
            home = "" if self._environment.get(b"HOME") else _home_of(uid)
            self._identity = identity.Identity(uid, user.get("gid", 0), groups, home)
        else:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            extra = (*map(str, user.get("additionalGids") or ()), *(self._process.get("groupNames") or ()))
            text = f"{user.get('uid', 0)}:{user.get('gid', 0)}" if text is None else text
            self._identity = identity.resolve(root, text, extra)
            os.close(root)
            if user.get("strictGroups"):  # whatever the group file says of the user
                self._identity = self._identity._replace(groups=tuple(user.get("additionalGids") or ()))
        if not self._environment.get(b"HOME"):  # also when it is empty, as runc does
            self._environment[b"HOME"] = os.fsencode(self._identity.home)

    def own_stdio(self, stdio: tuple[int, int, int]) -> None:
        """Give the user what it writes to, so that /dev/stdout can be opened again; not /dev/null, which is shared."""
        for fd in set(stdio):
            status = os.fstat(fd)
            if status.st_uid == self._identity.uid or status.st_rdev == os.makedev(1, 3):
                continue
            try:
                os.fchown(fd, self._identity.uid, -1 if stat.S_ISCHR(status.st_mode) else self._identity.gid)
            except OSError as error:  # a file of the caller's that is not ours to give (EPERM in a user namespace)
                if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                    raise

    def be_limited(self) -> list[str]:
        """What could not be raised, as warnings."""
        return apply_limits(self._process)

    def become_user(self) -> None:
        process, who = self._process, self._identity
        capabilities = process.get("capabilities")
        if process.get("noNewPrivileges"):
            p.prctl(p.PR_SET_NO_NEW_PRIVS, 1)
        entered = self._enter_directory(first=True)
        if capabilities is not None:
            caps.drop_bounding(capabilities.get("bounding") or ())
        if who.uid:
            p.prctl(p.PR_SET_KEEPCAPS, 1)  # until execve
        self._set_groups(who)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        if not entered:
            self._enter_directory()
        self._check_directory()
        if capabilities is not None:
            self._set_capabilities(capabilities, who.uid)
        p.prctl(p.PR_SET_DUMPABLE, 0)  # changing ids put it back; execve decides for the program
        os.umask(self._user.get("umask", 0o022))

    def _set_groups(self, who: identity.Identity) -> None:
        try:
            os.setgroups(list(who.groups))
        except PermissionError:
            if who.groups:  # a user namespace that may not (user_namespaces(7), "setgroups")
                raise

    def _enter_directory(self, first: bool = False) -> bool:
        """As root, and where root may not (FUSE, NFS) a second time as the user, as runc does. False: not entered."""
        try:
            os.chdir(self.cwd)
        except OSError as error:
            if first and isinstance(error, PermissionError):
                return False
            raise NotExecutable(f'chdir to cwd ("{self.cwd}") set in config.json failed: {_words(error)}', 126,
                                error.errno or 0) from error  # fmt: skip
        return True

    def _check_directory(self) -> None:
        """CVE-2024-21626: a directory that getcwd(2) cannot name is outside this root."""
        try:
            inside = os.getcwd().startswith("/")
        except OSError:
            inside = False
        if not inside:
            raise OSError(0, f"the working directory {self.cwd!r} is not in the container")

    def _set_capabilities(self, sets: dict[str, list[str]], uid: int) -> None:
        effective, permitted = frozenset(sets.get("effective") or ()), frozenset(sets.get("permitted") or ())
        if uid != 0 and not sets.get("ambient"):
            # What the kernel does at setuid + execve for a user without ambient capabilities; said outright, since
            # keeping capabilities over setuid was ours.
            effective, permitted = frozenset(), frozenset()
        if self._needs_privilege():
            permitted |= _TO_FILTER
        caps.apply(effective, permitted, sets.get("inheritable") or (), sets.get("ambient") or ())

    def _needs_privilege(self) -> bool:
        """Whether the filter is loaded with CAP_SYS_ADMIN, which then is permitted until execve. What a program gets
        there does not depend on what was permitted before, but on the bounding, inheritable and ambient sets
        (capabilities(7))."""
        return self._filter is not None and not self._process.get("noNewPrivileges")

    def find_executable(self) -> None:
        """Where execve will look, found as the user it will be; raises NotExecutable."""
        name = self._args[0]
        if not name:
            raise NotExecutable('exec: "": no command', 127, errno.ENOENT)
        if "/" in name:
            self._path = os.fsencode(name)
            self._check(name, self._path)
            return
        denied = False
        for directory in self._environment.get(b"PATH", PATH.encode()).split(b":"):
            candidate = (directory or b".") + b"/" + os.fsencode(name)
            try:
                if stat.S_ISREG(os.stat(candidate).st_mode):
                    if os.access(candidate, os.X_OK):
                        self._path = candidate
                        return
                    denied = True
            except OSError:
                continue
        if denied:
            raise NotExecutable(f'exec: "{name}": permission denied', 126, errno.EACCES)
        raise NotExecutable(f'exec: "{name}": executable file not found in $PATH', 127, errno.ENOENT)

    def _check(self, name: str, path: bytes) -> None:
        try:
            status = os.stat(path)
        except OSError as error:
            code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
            raise NotExecutable(f'exec: "{name}": stat {name}: {_words(error)}', code, error.errno or 0) from error
        if stat.S_ISDIR(status.st_mode):
            # execve's own errno, whose words tell docker's clients to exit with 126
            raise NotExecutable(f'exec: "{name}": permission denied: is a directory', 126, errno.EACCES)
        if not os.access(path, os.X_OK):
            raise NotExecutable(f'exec: "{name}": permission denied', 126, errno.EACCES)

    def execute(self) -> None:
        """execve. Returns only by an exception."""
        arguments = [os.fsencode(a) for a in self._args]
        if self._filter is not None:
            if self._needs_privilege():
                caps.make_effective(_TO_FILTER)
            seccomp.load(self._filter)  # from here on nothing but execve: a profile need not know what we call
        try:
            os.execve(self._path, arguments, self._environment)
        except OSError as error:
            if self._filter is not None and p.is_refused_execve():
                text = f"the seccomp profile does not allow execve: {_words(error)}"
                raise NotExecutable(f"exec {os.fsdecode(self._path)}: {text}", 126, error.errno or 0) from error
            missing = error.errno == errno.ENOENT  # the interpreter of a script or of a dynamic executable
            raise NotExecutable(
                f"exec {os.fsdecode(self._path)}: {_words(error)}", 127 if missing else 126, error.errno or 0
            ) from error


def with_group_names(process: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """`process` with the group names that the container's annotation adds to every process of its."""
    names = (spec.get("annotations") or {}).get(_GROUPS_ANNOTATION, "")
    return {**process, "groupNames": names.split(",")} if names else process


def environment(env: Any) -> dict[bytes, bytes]:
    """NAME=value texts as a mapping; the last of a name wins, and what has no '=' is dropped (CVE-2026-57231)."""
    result: dict[bytes, bytes] = {}
    for entry in env:
        name, equals, value = os.fsencode(entry).partition(b"=")
        if equals and name:
            result[name] = value
    return result


def _home_of(uid: int) -> str:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return identity.home_of(root, uid)
    finally:
        os.close(root)


def _words(error: OSError) -> str:
    """Go's words for an errno, which Docker's client looks for to choose between 126 and 127."""
    return os.strerror(error.errno or 0).lower()
