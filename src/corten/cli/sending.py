"""Images from our engine to another one, without a registry: only the layers that the other side lacks.

    corten push ssh://[USER@]HOST[:PORT]/IMAGE [IMAGE...]
    corten push ssh://[USER@]HOST[:PORT] IMAGE...
    corten push unix:///PATH/OF/SOCKET IMAGE...

What goes over is what `save` writes and `load` reads. The other engine may be a dockerd: then its images are asked for
one by one, and when it does not take an archive with layers left out it gets the whole one.
"""

from __future__ import annotations

from hashlib import sha256

from corten.cli import progress, pulling
from corten.cli.errors import CommandError
from corten.cli.output import STDOUT, out
from corten.client import address, images
from corten.client.api import Client, checked
from corten.client.errors import ApiError, StreamError
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from corten.client.api import Json


def run(ours: Client, words: Sequence[str], quiet: bool) -> int:
    url, names = _split(words)
    if not names:
        raise CommandError(f"no image is named: corten push {url} IMAGE...")
    theirs = Client(address.parse(url))
    try:
        for name in names:
            _send(ours, theirs, name, url, quiet)
    finally:
        theirs.close()
    return 0


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The engine's address and the images; with ssh the first may stand behind the host."""
    url, names = words[0], list(words[1:])
    if url.startswith("ssh://"):
        host, slash, image = url.removeprefix("ssh://").partition("/")
        if slash and image:
            return f"ssh://{host}", [image, *names]
        return f"ssh://{host}", names
    return url, names


def _send(ours: Client, theirs: Client, name: str, url: str, quiet: bool) -> None:
    image = images.inspect(ours, name)
    name = _one(name, image)
    chains = _chains(image["RootFS"]["Layers"])
    present = _present(theirs, chains)
    if not quiet:
        many = f"{len(chains)} layer" + ("" if len(chains) == 1 else "s")
        out(f"{name}: {len(present)} of {many} already at {url}")
    try:
        _transfer(ours, theirs, name, present, quiet)
    except (StreamError, ApiError):
        if not present:
            raise
        if not quiet:
            out(f"{name}: refused without these layers, sending all of it")
        _transfer(ours, theirs, name, [], quiet)
    if quiet:
        out(name)


def _one(name: str, image: Json) -> str:
    """One name or id: a repository alone would be all of its tags."""
    if image["Id"].removeprefix("sha256:").startswith(name.removeprefix("sha256:")):
        return name
    repository, tag = pulling.split(name)
    return name if tag else f"{repository}:{pulling.DEFAULT_TAG}"


def _chains(layers: Sequence[str] | None) -> list[str]:
    """Chain ids of diff ids, bottom first (OCI image specification, config.md, "Layer ChainID")."""
    chains: list[str] = []
    for diff in layers or ():
        chains.append(f"sha256:{sha256(f'{chains[-1]} {diff}'.encode()).hexdigest()}" if chains else diff)
    return chains


def _present(theirs: Client, chains: list[str]) -> list[str]:
    found = images.present(theirs, chains)
    if found is not None:
        return found
    theirs_have: set[str] = set()
    for each in images.listing(theirs):
        try:
            theirs_have |= {*_chains(images.inspect(theirs, each["Id"])["RootFS"].get("Layers"))}
        except ApiError as error:
            if error.status != 404:  # removed meanwhile
                raise
    return [chain for chain in chains if chain in theirs_have]


def _transfer(ours: Client, theirs: Client, name: str, present: list[str], quiet: bool) -> None:
    screen, sent = progress.Screen(STDOUT), 0
    archive = images.save(ours, [name], present=present)

    def parts() -> Iterator[bytes | memoryview]:
        nonlocal sent
        for part in archive.parts():
            sent += len(part)
            if not quiet:
                screen.show({"id": name, "status": "Sending", "progressDetail": {"current": sent}})
            yield part

    try:
        answer = images.load(theirs, parts(), quiet=True)
        for document in answer.documents():
            checked(document)
        answer.close()
    finally:
        archive.close()
    if not quiet:
        out(f"{name}: sent {human_size(sent)}")
