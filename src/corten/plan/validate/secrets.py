"""HostConfig.StoredSecrets, an addition of ours."""

from __future__ import annotations

import re

from corten.errors import Invalid
from corten.spec.docker.host_config import HostConfig
from corten.spec.docker.secrets import StoredSecretMount

MOST = 64  # of a container
_TARGET = re.compile(r"[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,254}", re.ASCII)
_MOST_ID = 2**31 - 1


def check_secrets(host: HostConfig) -> None:
    """Raises Invalid; whether the secrets exist is checked by the engine."""
    wanted = host.stored_secrets or ()
    if len(wanted) > MOST:
        raise Invalid(f"a container can have {MOST} secrets, and not {len(wanted)}")
    targets = set()
    for mount in wanted:
        _check(mount)
        target = mount.target or mount.secret
        if target in targets:
            raise Invalid(f"two secrets at /run/secrets/{target}")
        targets.add(target)


def _check(mount: StoredSecretMount) -> None:
    if not mount.secret:
        raise Invalid("a secret has no name")
    target = mount.target or mount.secret
    if not _TARGET.fullmatch(target):
        raise Invalid(f"invalid target of secret {mount.secret}: {target!r} is no name of a file in /run/secrets")
    for kind, text in (("uid", mount.uid), ("gid", mount.gid)):
        if text and not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _MOST_ID):
            raise Invalid(f"invalid {kind} of secret {mount.secret}: {text!r} is no number of a user or group")
    if mount.mode is not None and not 0 <= mount.mode <= 0o777:
        raise Invalid(f"invalid mode of secret {mount.secret}: {mount.mode:#o} is more than permission bits")
