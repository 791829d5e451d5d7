"""Docker's labels, by which everything of a project is found (docker/compose, pkg/api/labels.go)."""

from __future__ import annotations

_PREFIX = "com.docker.compose."

PROJECT = _PREFIX + "project"
SERVICE = _PREFIX + "service"
NUMBER = _PREFIX + "container-number"
ONEOFF = _PREFIX + "oneoff"  # "True" for what `run` has made, "False" for all else
HASH = _PREFIX + "config-hash"
IMAGE = _PREFIX + "image"  # the image's id when the container was created
DEPENDS_ON = _PREFIX + "depends_on"  # name:condition:restart, with commas
WORKING_DIR = _PREFIX + "project.working_dir"
CONFIG_FILES = _PREFIX + "project.config_files"  # with commas
ENVIRONMENT_FILE = _PREFIX + "project.environment_file"
VERSION = _PREFIX + "version"
REPLACE = _PREFIX + "replace"  # the name of the container that this one takes the place of
SLUG = _PREFIX + "slug"  # what makes the name of a one-off container unique
NETWORK = _PREFIX + "network"
VOLUME = _PREFIX + "volume"
HOOK = _PREFIX + "hook"  # PRE_START: a container that runs before one of the service's is started
HOOK_INDEX = _PREFIX + "hook.index"
PRE_START = "pre_start"

#: As which Compose we write: what the other client compares is what its version 2.40 wrote.
SPOKEN = "2.40.3"


def of_project(name: str) -> str:
    """A filter's value."""
    return f"{PROJECT}={name}"
