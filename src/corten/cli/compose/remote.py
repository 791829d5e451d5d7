"""Files of git repositories, for -f, include and extends: a clone in the user's cache, by the commit.

    https://host/path.git#REF:SUBDIR    git@host:path    ssh://user@host/path

The machine's git is run, with the user's own configuration and keys. What is found must lie in the clone: a link that
leads out of it is refused.
"""

from __future__ import annotations

import os
import subprocess

from corten.cli.compose import cache
from corten.compose.errors import ComposeError
from corten.compose.loader.discover import NAMES
from corten.errors import Invalid
from corten.spec import git_url
from corten.units.durations import in_go

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from corten.spec.git_url import GitUrl

LIMIT = 300  # seconds for one call of git
_TRANSPORTS = "https:http:ssh:git"


def fetch(place: str, environ: Mapping[str, str]) -> str:
    """The absolute path of the file that a URL names. Raises ComposeError."""
    cache.check_enabled(environ, "COMPOSE_EXPERIMENTAL_GIT_REMOTE", "git")
    try:
        url = git_url.parse(place, short=True)
    except Invalid as error:
        raise ComposeError(str(error)) from None
    if url is None:
        remedy = "git repositories are: https://host/path.git#REF:SUBDIR"
        raise ComposeError(f"{place}: files of this kind cannot be fetched", remedy=remedy)
    return _found(_clone(url, environ), url, place)


def _clone(url: GitUrl, environ: Mapping[str, str]) -> str:
    """Its directory; made unless the commit is there already."""
    try:
        commit = url.ref if git_url.is_commit(url.ref) else _commit(url, environ)
        if (kept := cache.find(environ, commit)) is not None:
            return kept
        with cache.draft(environ, commit) as (directory, place):
            _checkout(url, commit, directory, environ)
    except OSError as error:
        raise ComposeError(f"{url.shown}: {error.filename or 'git'}: {(error.strerror or '').lower()}") from None
    return place


def _commit(url: GitUrl, environ: Mapping[str, str]) -> str:
    """What the branch or tag is now."""
    wanted = url.ref or "HEAD"
    lines = _git(["ls-remote", "--", url.remote, wanted, f"{wanted}^{{}}"], url, environ, ".").split("\n")
    # A tag of its own has the commit in a line that ends in ^{}.
    named = [line.split("\t") for line in lines if "\t" in line]
    peeled = [commit for commit, name in named if name.endswith("^{}")]
    commit = (peeled or [commit for commit, _ in named] or [""])[0]
    if not git_url.is_commit(commit):
        raise ComposeError(f"{url.shown}: repository does not contain ref {wanted}")
    return commit


def _checkout(url: GitUrl, commit: str, directory: str, environ: Mapping[str, str]) -> None:
    _git(["init", "--quiet"], url, environ, directory)
    _git(["fetch", "--quiet", "--depth", "1", "--", url.remote, commit], url, environ, directory)
    _git(["checkout", "--quiet", "--detach", commit], url, environ, directory)


def _git(words: list[str], url: GitUrl, environ: Mapping[str, str], directory: str) -> str:
    env = {**environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": _TRANSPORTS, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *words],
            cwd=directory, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT,
        )  # fmt: skip
    except FileNotFoundError:
        raise ComposeError(f"{url.shown}: there is no git on this machine", remedy="install git") from None
    except subprocess.TimeoutExpired:
        raise ComposeError(f"{url.shown}: git {words[0]} takes more than {in_go(LIMIT)}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ComposeError(f"{url.shown}: git {words[0]} failed: {said[-1] if said else done.returncode}")
    return done.stdout.decode("utf-8", "replace")


def _found(clone: str, url: GitUrl, place: str) -> str:
    """The file that is named, or the usual one of the directory that is."""
    path = os.path.join(clone, url.subdir.lstrip("/"))
    if os.path.isdir(path):
        path = next((each for name in NAMES if os.path.exists(each := os.path.join(path, name))), path)
    whole = os.path.realpath(path)
    if not whole.startswith(f"{os.path.realpath(clone)}/") or not os.path.isfile(whole):
        raise ComposeError(
            f"{place}: no Compose file there", remedy=f"name one: {url.shown.partition('#')[0]}#REF:PATH"
        )
    return whole
