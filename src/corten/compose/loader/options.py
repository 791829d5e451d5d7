"""What a project is loaded from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

Fetch = Callable[[str], str]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The global flags of `compose`, and how far the files are worked on; the flags of `config` turn steps off."""

    files: tuple[str, ...] = ()
    """-f, in order; "-" is standard input. Without any: COMPOSE_FILE, else the usual names here and above."""
    name: str = ""
    """-p"""
    profiles: tuple[str, ...] = ()
    """--profile; "*" is all. Without any: COMPOSE_PROFILES."""
    env_files: tuple[str, ...] = ()
    """--env-file, the later wins. Without any: COMPOSE_ENV_FILES, else .env beside the project."""
    directory: str = ""
    """--project-directory"""
    environ: Mapping[str, str] = {}
    """The process's environment."""
    services: tuple[str, ...] = ()
    """Named on the command line: only these and what they depend on, their profiles switched on; () is all."""
    all_resources: bool = False
    """Keep networks, volumes, secrets and configs that no service uses."""
    compatibility: bool = False
    """--compatibility: _ instead of - in names of containers."""
    interpolate: bool = True
    normalize: bool = True
    resolve_paths: bool = True
    resolve_env: bool = True
    """Read env_file and label_file into environment and labels."""
    consistency: bool = True
    """Check that what is referred to is there."""
    fetch: Fetch | None = None
    """Gets the place of a remote file (oci://REFERENCE, a git URL) and gives the absolute path of a copy on this
    machine; without it such places are refused. It may raise ComposeError."""
