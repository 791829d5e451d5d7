"""Secrets of ours: the body of POST /stored-secrets/create, and what of them a container gets."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.gotypes import Int64


class StoredSecretCreate(Struct, go="secret.Create"):
    """`data` is the text in base64."""

    name: str = ""
    labels: dict[str, str] | None = None
    data: str = ""


class StoredSecretMount(Struct, go="container.StoredSecret"):
    """`secret` is a name or an id, `target` a file's name in /run/secrets ("": the secret's), `mode` permission bits
    (null: 0444); the owner is the container's root unless `uid` and `gid` say so, in its numbering."""

    secret: str = ""
    target: str = field(default="", omitempty=True)
    uid: str = field(default="", omitempty=True, key="UID")
    gid: str = field(default="", omitempty=True, key="GID")
    mode: Int64 | None = field(default=None, omitempty=True)
