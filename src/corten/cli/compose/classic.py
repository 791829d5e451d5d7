"""A build by POST /build, for engines that are not ours: the context goes as a tar (Docker's API, "Build an image").

What that request cannot say is refused by name, before anything is sent.
"""

from __future__ import annotations

import os

from corten.cli import context, smallfiles
from corten.cli.errors import CommandError
from corten.cli.output import STDERR, write_all
from corten.client import quickjson
from corten.client.api import checked
from corten.client.errors import StreamError
from corten.client.http import quote
from corten.spec.dockerfile.ignore import Patterns, lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.client.api import Client, Json
    from corten.compose.model import Service

_INLINE = ".compose.dockerfile"
_UNSAYABLE = ("contexts", "cache-to", "ssh", "secret", "entitlements", "attest")
_PASSED = {"--no-cache": "nocache", "--pull": "pull"}


def build(client: Client, service: Service, target: Json, options: Sequence[str], quiet: bool) -> None:
    """Raises CommandError for a build that failed, and for what the engine cannot be asked this way."""
    if unsayable := [key for key in _UNSAYABLE if target.get(key)]:
        raise CommandError(
            f"service {service.name}: build.{unsayable[0].replace('-', '_')} cannot be asked of this engine: "
            "leave it out, or use Corten's"
        )
    where = str(target["context"])
    pairs = _query(target, options)
    files: dict[str, bytes] = {}
    dockerfile = str(target.get("dockerfile") or "Dockerfile")
    if "dockerfile-inline" in target:
        dockerfile = _INLINE
        files[_INLINE] = str(target["dockerfile-inline"]).encode()
    body = None
    if os.path.isdir(where):
        if os.path.isabs(dockerfile):
            files[_INLINE] = _read(dockerfile)
            dockerfile = _INLINE
        body = context.pack(where, _patterns(where, dockerfile), files)
    else:
        pairs.append(("remote", where))
    pairs.append(("dockerfile", dockerfile))
    query = "&".join(f"{quote(key)}={quote(value)}" for key, value in pairs)
    answer = client.stream("POST", f"/build?{query}", None, body)
    try:
        for document in answer.documents():
            said = checked(document).get("stream")
            if said and not quiet:
                write_all(STDERR, str(said).encode())
    except StreamError as error:
        raise CommandError(f"failed to build service {service.name}: {error}") from None
    finally:
        answer.close()


def _query(target: Json, options: Sequence[str]) -> list[tuple[str, str]]:
    arguments = dict(target.get("args", {}))
    pairs = []
    for option in options:
        name, _, value = option.partition("=")
        if name == "--build-arg":
            key, _, text = value.partition("=")
            arguments[key] = text
        elif name in _PASSED:
            pairs.append((_PASSED[name], "1"))
        else:
            raise CommandError(f"this engine takes no {name} for a build")
    pairs += [("t", name) for name in target.get("tags", ())]
    pairs += [("extrahosts", f"{name}:{address}") for name, address in target.get("extra-hosts", {}).items()]
    for key, given in (
        ("buildargs", arguments),
        ("labels", target.get("labels")),
        ("cachefrom", target.get("cache-from")),
    ):
        pairs += [(key, quickjson.dumps(given))] if given else []
    for key, name in (("target", "target"), ("networkmode", "network"), ("shmsize", "shm-size")):
        pairs += [(key, str(target[name]))] if target.get(name) else []
    for key, name in (("nocache", "no-cache"), ("pull", "pull")):
        pairs += [(key, "1")] if target.get(name) else []
    if target.get("platforms"):
        pairs.append(("platform", ",".join(target["platforms"])))
    return [*pairs, ("rm", "1")]


def _patterns(directory: str, dockerfile: str) -> Patterns | None:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        path = os.path.join(directory, name)
        if os.path.exists(path):
            # The engine reads both of these, whatever the patterns say.
            return Patterns([*lines(_read(path)), f"!{dockerfile}", "!.dockerignore"])
    return None


def _read(path: str) -> bytes:
    try:
        return smallfiles.content(path)
    except OSError as error:
        raise CommandError(f"failed to read {path}: {(error.strerror or str(error)).lower()}") from None
