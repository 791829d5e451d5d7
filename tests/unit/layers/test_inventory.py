"""What is found in real trees is what the package managers themselves list; what hostile trees come to."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from corten.layers import inventory as module
from corten.layers.inventory import inventory
from corten.spec.packages.package import Inventory

_RPM_SPEC = """\
Name: {name}
Epoch: {epoch}
Version: 1.{number}
Release: 2
Summary: x
License: MIT and GPLv2+
BuildArch: noarch
%description
x
%files
"""


def look(top: Path) -> Inventory:
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return inventory(fd)
    finally:
        os.close(fd)


def said(*command: str | Path, **options: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=100, **options)  # type: ignore[call-overload]
    return str(done.stdout)


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


def listed(found: Inventory, kind: str) -> list[tuple[str, str, str]]:
    return sorted((p.name, p.version, p.architecture) for p in found.packages if p.kind == kind)


@needs("dpkg-query")
def test_dpkg(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    shutil.copy("/var/lib/dpkg/status", tmp_path / "var/lib/dpkg/status")
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy("/usr/lib/os-release", tmp_path / "usr/lib/os-release")
    (tmp_path / "etc/os-release").symlink_to("/usr/lib/os-release")
    found = look(tmp_path)
    form = "${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\n"
    lines = [line.split("\t") for line in said("dpkg-query", "-W", f"-f={form}").splitlines()]
    assert listed(found, "deb") == sorted(tuple(line[1:]) for line in lines if line[0] == "installed")
    assert len(found.packages) > 50 and found.unread == []
    assert f"ID={found.distribution.id}\n" in Path("/usr/lib/os-release").read_text()


def test_licenses_of_dpkg(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg/status.d").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status.d/tzdata").write_text("Package: tzdata\nVersion: 1\n")
    (tmp_path / "var/lib/dpkg/status.d/tzdata.md5sums").write_text("Package: no\nVersion: 1\n")
    (tmp_path / "usr/share/doc/real").mkdir(parents=True)
    (tmp_path / "usr/share/doc/tzdata").symlink_to("real")
    (tmp_path / "usr/share/doc/real/copyright").write_text("Format: x\n\nFiles: *\nLicense: public-domain\n")
    assert [(p.name, p.license) for p in look(tmp_path).packages] == [("tzdata", "public-domain")]


def test_pip(tmp_path: Path) -> None:
    """This environment, as its own pip lists it."""
    root = Path(sys.prefix)
    found = look(root)
    expected = json.loads(said(sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
    assert listed(found, "pypi") == sorted((each["name"], each["version"], "") for each in expected)


def test_egg_info(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/python3/dist-packages"
    (place / "a.egg-info").mkdir(parents=True)
    (place / "a.egg-info/PKG-INFO").write_text("Name: a\nVersion: 1\nLicense: MIT\n")
    (place / "b-2.egg-info").write_text("Name: b\nVersion: 2\n")
    (tmp_path / "src/c.egg-info").mkdir(parents=True)
    (tmp_path / "src/c.egg-info/PKG-INFO").write_text("Name: c\nVersion: 3\n")
    found = look(tmp_path)
    assert [(p.name, p.version, p.license) for p in found.packages] == [("a", "1", "MIT"), ("b", "2", "")]


def _names(tree: dict[str, object]) -> Iterable[tuple[str, str, str]]:
    below = tree.get("dependencies", {})
    assert isinstance(below, dict)
    for name, each in below.items():
        yield name, each["version"], ""
        yield from _names(each)


@needs("npm")
def test_npm(tmp_path: Path) -> None:
    """Nested and scoped packages, made here: npm lists what it finds in the directory."""
    packages = {"a": {"b": "2.0.0"}, "b": {}, "@s/c": {}}

    def make(where: Path, name: str, version: str, needed: dict[str, str]) -> None:
        (where / name).mkdir(parents=True)
        body = {"name": name, "version": version, "license": "MIT", "dependencies": needed}
        (where / name / "package.json").write_text(json.dumps(body))

    top = tmp_path / "app"
    make(tmp_path, "app", "1.0.0", dict.fromkeys(packages, "1.0.0"))
    for name, needed in packages.items():
        make(top / "node_modules", name, "1.0.0", needed)
    make(top / "node_modules/a/node_modules", "b", "2.0.0", {})
    (top / "node_modules/a/lib").mkdir()
    (top / "node_modules/a/lib/package.json").write_text('{"name": "inner", "version": "9"}')
    (top / "node_modules/.bin").mkdir()
    (top / "node_modules/.bin/package.json").write_text('{"name": "bin", "version": "9"}')
    tree = json.loads(said("npm", "ls", "--all", "--json", cwd=top, env={**os.environ, "HOME": str(tmp_path)}))
    assert listed(look(tmp_path), "npm") == sorted(_names(tree)) and len(list(_names(tree))) == 4


@needs("rpm", "rpmbuild")
def test_rpm(tmp_path: Path) -> None:
    """Packages that were built and installed by rpm itself into a database of its own."""
    root, home = tmp_path / "root", tmp_path / "home"
    (root / "usr/lib/sysimage/rpm").mkdir(parents=True)
    (root / "var/lib").mkdir(parents=True)
    (root / "var/lib/rpm").symlink_to("../../usr/lib/sysimage/rpm")
    home.mkdir()
    for number in range(3):
        spec = home / f"p{number}.spec"
        spec.write_text(_RPM_SPEC.format(name=f"p{number}", number=number, epoch=number))
        said("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {home}", spec)
    built = sorted(home.glob("RPMS/noarch/*.rpm"))
    where = ["--root", str(root), "--dbpath", "/usr/lib/sysimage/rpm"]
    said("rpm", *where, "-i", "--nodeps", "--ignoreos", *built)
    lines = said("rpm", *where, "-qa", "--qf", "%{NAME}\\t%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%{EPOCH}\\n").splitlines()
    found = look(root)
    assert [(p.name, p.version, p.architecture, p.epoch) for p in found.packages] == sorted(
        tuple(line.split("\t")) for line in lines
    )
    assert len(found.packages) == 3 and {p.license for p in found.packages} == {"MIT and GPLv2+"}
    assert found.unread == []


def test_other_databases_of_rpm_are_named(tmp_path: Path) -> None:
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    (tmp_path / "var/lib/rpm/Packages.db").write_bytes(b"x")
    (tmp_path / "var/lib/rpm/rpmdb.sqlite").write_bytes(b"y")
    assert look(tmp_path).unread == [
        "var/lib/rpm/Packages.db: a database of rpm in the form ndb, which is not read",
        "var/lib/rpm: it does not begin as an SQLite database",
    ]


def test_a_large_database_of_rpm_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows that are no packages, so that nothing else bounds it."""
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    database = sqlite3.connect(tmp_path / "var/lib/rpm/rpmdb.sqlite")
    database.execute("create table Packages (hnum integer primary key, blob blob)")
    database.executemany("insert into Packages (blob) values (?)", [(bytes(2000),)] * 200)
    database.commit()
    database.close()
    assert look(tmp_path).unread == []
    monkeypatch.setattr(module, "_READ", 200_000)
    assert look(tmp_path).unread == ["var/lib/rpm: 200000 bytes of all files are read at most"]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    for path in ("var/lib/dpkg", "lib/apk/db", "x/site-packages/d.dist-info", "node_modules/n"):
        (tmp_path / path).mkdir(parents=True)
    os.mkfifo(tmp_path / "var/lib/dpkg/status")
    (tmp_path / "lib/apk/db/installed").symlink_to("/etc/passwd")
    (tmp_path / "x/site-packages/d.dist-info/METADATA").symlink_to("/proc/self/environ")
    os.mkfifo(tmp_path / "node_modules/n/package.json")
    found = look(tmp_path)
    assert found.packages == [] and len(found.unread) == 1 and "Invalid argument" in found.unread[0]


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too large a file, too many packages, too many bytes, too many files: what was found until then, and a note."""
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    text = "".join(f"Package: p{number}\nVersion: 1\n\n" for number in range(100))
    (tmp_path / "var/lib/dpkg/status").write_text(text)
    assert len(look(tmp_path).packages) == 100
    for name, value, count in (("_MOST", 10, 10), ("_BYTES", 50, 2), ("_DATABASE", 100, 0), ("_READ", 100, 0)):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, value)
            found = look(tmp_path)
            assert len(found.packages) == count and len(found.unread) == 1, name
    monkeypatch.setattr(module, "_WALKED", 3)
    assert "only 3 files" in look(tmp_path).unread[0]


def test_depth(tmp_path: Path) -> None:
    """A tree as deep as a path may be long is walked."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert look(tmp_path).packages == []
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
