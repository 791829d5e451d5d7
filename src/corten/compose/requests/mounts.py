"""What a service's container has mounted: HostConfig.Binds and Mounts, and the files that are put into it.

Docker's Compose writes a bind or a volume as an entry of Binds unless it says something that only a Mount can; so do
we, because what is in `inspect` is what others read.
"""

from __future__ import annotations

import posixpath

import msgspec

from corten.compose.model import FileMode, FileReference, Project, Service, ServiceVolume
from corten.spec.docker.mount import BindOptions, ImageOptions, Mount, TmpfsOptions, VolumeOptions
from corten.spec.docker.secrets import StoredSecretMount
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECRETS, _CONFIGS = "/run/secrets", "/"
_READABLE = 0o444


class Inherited(msgspec.Struct, frozen=True):
    """A volume of the container that is replaced: it is kept where nothing else was asked for."""

    name: str
    target: str
    read_only: bool


class PlacedFile(msgspec.Struct, frozen=True):
    """A secret or a config whose text is known: put into the created container, before it is started."""

    path: str
    content: str
    uid: int
    gid: int
    mode: int


class Mounted(msgspec.Struct, frozen=True):
    binds: tuple[str, ...]
    mounts: tuple[Mount, ...]


def mounted(
    project: Project, service: Service, inherited: Iterable[Inherited] = (), image_volumes: Iterable[str] = ()
) -> Mounted:
    """`image_volumes` are the paths that the image makes volumes of."""
    binds: list[str] = []
    mounts: list[Mount] = []
    kept = {_clean(each.target): each for each in inherited}
    given = set[str]()
    for volume in service.volumes:
        given.add(_clean(volume.target))
        old = kept.get(_clean(volume.target))
        if volume.type == "volume" and not volume.source and old is not None:
            binds.append(f"{old.name}:{volume.target}:{'ro' if volume.read_only else 'rw'}")
        elif (bind := _bind(project, volume)) is not None:
            binds.append(bind)
        else:
            mounts.append(_mount(project, volume))
    for path in image_volumes:
        if (old := kept.get(_clean(path))) is not None and _clean(path) not in given:
            binds.append(f"{old.name}:{old.target}:{'ro' if old.read_only else 'rw'}")
    for source, target in _files(project, service):
        mounts.append(Mount(type="bind", source=source, target=target, read_only=True, bind_options=BindOptions()))
    return Mounted(tuple(binds), tuple(mounts))


def stored(project: Project, service: Service) -> list[StoredSecretMount]:
    """External secrets: the engine keeps them. Their targets are names of files of /run/secrets there."""
    return [
        StoredSecretMount(
            secret=known.name,
            target=posixpath.basename(_target(each, _SECRETS)),
            uid=each.uid or UNSET,
            gid=each.gid or UNSET,
            mode=UNSET if each.mode is None else int(each.mode),
        )
        for each in service.secrets
        if (known := project.secrets[each.source]).external
    ]


def placed(project: Project, service: Service) -> tuple[PlacedFile, ...]:
    """What has no file on the host: `environment`, and `content`."""
    found = []
    for references, objects, directory in (
        (service.secrets, project.secrets, _SECRETS),
        (service.configs, project.configs, _CONFIGS),
    ):
        for each in references:
            known = objects[each.source]
            if not known.file and not known.external:
                found.append(_placed(each, known.content, directory))
    return tuple(found)


def _placed(reference: FileReference, content: str, directory: str) -> PlacedFile:
    mode: FileMode | int = _READABLE if reference.mode is None else reference.mode
    uid, gid = (int(text) if text.isdigit() else 0 for text in (reference.uid, reference.gid))
    return PlacedFile(_target(reference, directory), content, uid, gid, int(mode))


def _files(project: Project, service: Service) -> Iterable[tuple[str, str]]:
    for each in service.secrets:
        if project.secrets[each.source].file:
            yield project.secrets[each.source].file, _target(each, _SECRETS)
    for each in service.configs:
        if project.configs[each.source].file:
            yield project.configs[each.source].file, _target(each, _CONFIGS)


def _target(reference: FileReference, directory: str) -> str:
    return posixpath.join(directory, reference.target or reference.source)


def _clean(path: str) -> str:
    return posixpath.normpath(path)


def volume_name(project: Project, key: str) -> str:
    """The engine's name of what a service calls `key`."""
    known = project.volumes.get(key)
    return known.name if known is not None else key


def _bind(project: Project, volume: ServiceVolume) -> str | None:
    """An entry of Binds, or None where it says too little."""
    modes = ["ro" if volume.read_only else "rw"]
    if volume.type == "bind":
        options = volume.bind
        if options is not None:
            if not options.create_host_path or options.recursive:
                return None
            modes += [text for text in (options.selinux, options.propagation) if text]
        return f"{volume.source}:{volume.target}:{','.join(modes)}"
    if volume.type == "volume" and volume.source:
        given = volume.volume
        if given is not None and (given.labels or given.subpath or given.nocopy):
            return None
        return f"{volume_name(project, volume.source)}:{volume.target}:{','.join(modes)}"
    return None


def _mount(project: Project, volume: ServiceVolume) -> Mount:
    source = volume_name(project, volume.source) if volume.type == "volume" else volume.source
    return Mount(
        type=volume.type,
        source=source or UNSET,
        target=volume.target,
        read_only=volume.read_only or UNSET,
        consistency=volume.consistency or UNSET,
        bind_options=_bind_options(volume) if volume.type == "bind" else UNSET,
        volume_options=_volume_options(volume) if volume.type == "volume" else UNSET,
        image_options=_image_options(volume) if volume.type == "image" else UNSET,
        tmpfs_options=_tmpfs_options(volume) if volume.type == "tmpfs" else UNSET,
    )


def _bind_options(volume: ServiceVolume) -> BindOptions:
    given = volume.bind
    if given is None:
        return BindOptions(create_mountpoint=True)
    return BindOptions(
        propagation=given.propagation or UNSET,
        create_mountpoint=given.create_host_path or UNSET,
        non_recursive=True if given.recursive == "disabled" else UNSET,
        read_only_non_recursive=True if given.recursive == "writable" else UNSET,
        read_only_force_recursive=True if given.recursive == "readonly" else UNSET,
    )


def _volume_options(volume: ServiceVolume) -> VolumeOptions:
    given = volume.volume
    if given is None:
        return VolumeOptions()
    return VolumeOptions(no_copy=given.nocopy or UNSET, labels=_labels(given.labels), subpath=given.subpath or UNSET)


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return dict(labels) if labels else UNSET


def _image_options(volume: ServiceVolume) -> ImageOptions:
    return ImageOptions(subpath=(volume.image.subpath if volume.image is not None else "") or UNSET)


def _tmpfs_options(volume: ServiceVolume) -> TmpfsOptions:
    given = volume.tmpfs
    if given is None:
        return TmpfsOptions()
    return TmpfsOptions(size_bytes=int(given.size) or UNSET, mode=given.mode or UNSET)
