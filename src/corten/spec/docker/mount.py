"""mount.Mount: one entry of HostConfig.Mounts, as `--mount` makes it."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.gotypes import FileMode, Int64, MountType, Propagation


class BindOptions(Struct, go="mount.BindOptions"):
    propagation: Propagation = field(default="", omitempty=True)
    non_recursive: bool = field(default=False, omitempty=True, since=(1, 40))
    create_mountpoint: bool = field(default=False, omitempty=True, since=(1, 42))
    read_only_non_recursive: bool = field(default=False, omitempty=True, since=(1, 44))
    read_only_force_recursive: bool = field(default=False, omitempty=True, since=(1, 44))


class Driver(Struct, go="mount.Driver"):
    name: str = field(default="", omitempty=True)
    options: dict[str, str] | None = field(default=None, omitempty=True)


class VolumeOptions(Struct, go="mount.VolumeOptions"):
    no_copy: bool = field(default=False, omitempty=True)
    labels: dict[str, str] | None = field(default=None, omitempty=True)
    driver_config: Driver | None = field(default=None, omitempty=True)
    subpath: str = field(default="", omitempty=True, since=(1, 45))


class ImageOptions(Struct, go="mount.ImageOptions"):
    subpath: str = field(default="", omitempty=True)


class TmpfsOptions(Struct, go="mount.TmpfsOptions"):
    """`size_bytes` 0 is no limit; `mode` are permission bits; `options` are words, or pairs of name and value."""

    size_bytes: Int64 = field(default=0, omitempty=True)
    mode: FileMode = field(default=0, omitempty=True)
    options: list[list[str]] | None = field(default=None, omitempty=True, since=(1, 46))


class Mount(Struct, go="mount.Mount"):
    type: MountType = field(default="", omitempty=True)
    source: str = field(default="", omitempty=True)
    target: str = field(default="", omitempty=True)
    read_only: bool = field(default=False, omitempty=True)
    consistency: str = field(default="", omitempty=True)
    bind_options: BindOptions | None = field(default=None, omitempty=True)
    volume_options: VolumeOptions | None = field(default=None, omitempty=True)
    image_options: ImageOptions | None = field(default=None, omitempty=True)
    tmpfs_options: TmpfsOptions | None = field(default=None, omitempty=True)
