"""Which mount points a container gets when several sources have the same target."""

from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.plan.facts import MountPoint
from corten.plan.mount_parse import parse_volume
from corten.plan.mount_points import volumes_from
from docker_json import mount_points, parse_mount

LENT = MountPoint("volume", "/data", "/v/lent", "lent", "local", "z", nocopy=True)


def test_volumes_of_another_container() -> None:
    lent = {"other": [LENT, MountPoint("bind", "/b", "/src", create=True)]}
    points = {p.destination: p for p in mount_points({}, {"VolumesFrom": ["other"]}, lent)}
    assert (points["/data"].name, points["/data"].rw, points["/b"].source) == ("lent", True, "/src")
    read_only = mount_points({}, {"VolumesFrom": ["other:ro"]}, lent)
    assert [p.rw for p in read_only] == [False, False]


def test_ones_own_mount_wins_over_a_borrowed_one_and_an_image_volume_loses() -> None:
    host = {"VolumesFrom": ["other"], "Binds": ["/mine:/data"]}
    [point] = mount_points({"Volumes": {"/data": {}}}, host, {"other": [LENT]})
    assert (point.type, point.source) == ("bind", "/mine")
    [borrowed] = mount_points({"Volumes": {"/data/": {}}}, {"VolumesFrom": ["other"]}, {"other": [LENT]})
    assert borrowed.name == "lent"


def test_an_image_volume_is_anonymous() -> None:
    [point] = mount_points({"Volumes": {"//data/../x": {}}}, {})
    assert (point.destination, point.anonymous, point.name, point.driver) == ("/x", True, "", "local")


def test_missing_sources() -> None:
    mount = {"Type": "bind", "Source": "/nowhere", "Target": "/x"}
    with pytest.raises(Invalid, match="bind source path does not exist: /nowhere"):
        mount_points({}, {"Mounts": [mount]}, exists=lambda path: False)
    [made] = mount_points({}, {"Binds": ["/nowhere:/x"]}, exists=lambda path: False)
    assert made.create
    asked = {**mount, "BindOptions": {"CreateMountpoint": True}}
    assert parse_mount(asked, lambda path: False).create


def test_volume_options() -> None:
    driver = {"Name": "local", "Options": {"type": "tmpfs"}}
    options = {"NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": driver, "Subpath": "a/b"}
    point = parse_mount({"Type": "volume", "Source": "vol", "Target": "/v", "VolumeOptions": options})
    assert (point.nocopy, point.labels, point.driver_options, point.subpath) == (
        True, {"a": "b"}, {"type": "tmpfs"}, "a/b",
    )  # fmt: skip
    for subpath in ("/a", "../a", "a/../../b"):
        with pytest.raises(Invalid, match="subpath"):
            parse_mount({"Type": "volume", "Target": "/v", "VolumeOptions": {"Subpath": subpath}})


def test_recursion_of_read_only() -> None:
    def rro(read_only: bool = True, **options: object) -> str:
        mount = {"Type": "bind", "Source": "/s", "Target": "/x", "ReadOnly": read_only, "BindOptions": options}
        return parse_mount(mount).rro

    assert rro() == "if-possible"
    assert rro(ReadOnlyNonRecursive=True) == "no"
    assert rro(ReadOnlyForceRecursive=True, Propagation="rprivate") == "required"
    with pytest.raises(Invalid):
        rro(ReadOnlyForceRecursive=True, ReadOnlyNonRecursive=True)
    with pytest.raises(Invalid):
        rro(ReadOnlyForceRecursive=True, Propagation="rshared")
    with pytest.raises(Invalid):
        rro(read_only=False, ReadOnlyForceRecursive=True)


def test_mounts_of_images_are_read_only() -> None:
    point = parse_mount({"Type": "image", "Source": "x:1", "Target": "/x", "ImageOptions": {"Subpath": "a/b"}})
    assert (point.type, point.name, point.rw, point.subpath) == ("image", "x:1", False, "a/b")
    for wrong in (
        {"Source": ""},
        {"Source": "x", "ImageOptions": {"Subpath": "../a"}},
        {"Source": "x", "BindOptions": {}},
    ):
        with pytest.raises(Invalid, match='invalid mount config for type "image"'):
            parse_mount({"Type": "image", "Target": "/x", **wrong})


def test_a_volume_driver_is_for_volumes() -> None:
    assert parse_volume("vol:/x", "nfs").driver == "nfs"
    assert parse_volume("/a:/x", "nfs").driver == ""


@pytest.mark.parametrize(("text", "expected"), [("a", ("a", "rw")), ("a:ro", ("a", "ro")), ("a:z,ro", ("a", "z,ro"))])
def test_volumes_from(text: str, expected: tuple[str, str]) -> None:
    assert volumes_from(text) == expected


def test_two_leading_slashes_are_one() -> None:
    with pytest.raises(Invalid, match="Duplicate mount point: /x"):
        mount_points({}, {"Binds": ["/a://x", "/b:/x"]})


ROOT = "/srv/corten"


@pytest.mark.parametrize("source", ["/", "/srv", "/srv/", ROOT, f"{ROOT}/volumes", "/srv/x/../corten/containers"])
def test_a_bind_that_has_the_data_root_in_it_hears_of_unmounts(source: str) -> None:
    def propagation(given: str, text: bool) -> str:
        mount = {"Type": "bind", "Source": source, "Target": "/x", "BindOptions": {"Propagation": given}}
        asked = {"Binds": [f"{source}:/x:{given}".rstrip(":")]} if text else {"Mounts": [mount]}
        [point] = mount_points({}, asked, data_root=ROOT)
        return point.propagation

    for text in (False, True):
        assert [propagation(given, text) for given in ("", "rslave", "rshared")] == ["rslave", "rslave", "rshared"]
        for given in ("private", "rprivate", "slave", "shared"):
            with pytest.raises(Invalid, match='must use either propagation mode "rslave" or "rshared"'):
                propagation(given, text)


@pytest.mark.parametrize("source", ["/srv/corten2", "/srv/cort", "/x", "/srv/corten/../other"])
def test_other_binds_are_private(source: str) -> None:
    for asked in ({"Binds": [f"{source}:/x"]}, {"Mounts": [{"Type": "bind", "Source": source, "Target": "/x"}]}):
        [point] = mount_points({}, asked, data_root=ROOT)
        assert point.propagation == "rprivate"
