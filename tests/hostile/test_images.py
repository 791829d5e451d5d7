"""Registries and archives that lie (IMG-01, IMG-02, IMG-03, IMG-07, DOS-01, DOS-02), by a real daemon.

Each is refused with one clear line; the store is as it was, the daemon has not grown, and an honest image, or an
odd but legitimate one, comes right afterwards.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.spec.oci_image import DOCKER_LAYER, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from e2e_parts.http import Connection
from fault_parts.fragile import Fragile
from image_parts import tars
from image_parts.held import Held, held
from image_parts.stores import Made, digest, entry

Json = dict[str, Any]
TAR = tars.archive(tars.directory("etc"), tars.file("etc/made", b"by a test"))
OTHER = tars.archive(tars.file("other", b"o"))
_CODECS = ("gzip", "zstd", "xz", "bz2")


@pytest.fixture(scope="module")
def registry() -> Iterator[Held]:
    with held() as running:
        yield running


@pytest.fixture
def unharmed(daemon: Fragile, registry: Held) -> Iterator[None]:
    """Afterwards nothing new is in the store, the daemon is the same and no bigger, and an honest image comes."""
    before, pid = store(daemon), daemon.pid
    logged = daemon.log.stat().st_size
    yield
    deadline = time.monotonic() + 60
    while (now := store(daemon)) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(now) - set(before) == set() and now == before
    assert daemon.pid == pid
    assert peak(pid) < 200 << 20
    registry.add("honest", Made([TAR, OTHER]))
    name = f"{registry.host}/a/b:honest"
    assert str(pull(daemon, name)[-1].get("status")).startswith("Status: ")
    assert daemon.ask("DELETE", f"/images/{name}")[0] == 200
    text = daemon.log.read_bytes()[logged:].decode()
    assert "Traceback" not in text and "unhandled exception" not in text, text[-2000:]


def store(daemon: Fragile) -> list[str]:
    places = ("content/blobs", "content/ingest", "snapshots")
    found = [path for place in places for path in (daemon.data / place).glob("*")]
    found += (daemon.data / "content/blobs").glob("*/*")
    return sorted(str(path) for path in found if path.name != ".trash")


def peak(pid: int) -> int:
    """Bytes of memory that a process had at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def messages(daemon: Fragile, path: str, body: bytes = b"") -> list[Json]:
    with Connection(daemon.socket) as http:
        http.request("POST", path, body, {"Content-Type": "application/x-tar"})
        return [json.loads(line) for line in http.getresponse().read().splitlines() if line]


def pull(daemon: Fragile, name: str) -> list[Json]:
    return messages(daemon, f"/images/create?fromImage={name}")


def refused(said: list[Json]) -> str:
    """The one error in an answer: in a stream, or an answer of its own."""
    errors = [message["error"] for message in said if "error" in message]
    errors += [message["message"] for message in said if set(message) == {"message"}]
    assert len(errors) == 1, said
    text = str(errors[0])
    assert text and "\n" not in text and len(text) < 600 and "internal error" not in text, text
    return text


def document(image: Made, **changes: object) -> bytes:
    """The image's manifest with these keys; None takes one away."""
    found = {**json.loads(image.manifest), **changes}
    return json.dumps({key: value for key, value in found.items() if value is not None}).encode()


def served(registry: Held, body: bytes, kind: str = OCI_MANIFEST, tag: str = "bad") -> str:
    registry.manifests[tag] = (kind, body)
    registry.blobs.update(Made([TAR, OTHER]).blobs)
    return f"{registry.host}/a/b:{tag}"


def layered(**changes: object) -> bytes:
    """A manifest whose second layer is described otherwise."""
    image = Made([TAR, OTHER])
    layers = json.loads(image.manifest)["layers"]
    layers[1] = {key: value for key, value in {**layers[1], **changes}.items() if value is not None}
    return document(image, layers=layers)


def configured(config: Any) -> Callable[[Held], bytes]:
    """A manifest whose configuration is this, as JSON or as it stands."""

    def make(registry: Held) -> bytes:
        body = config if isinstance(config, bytes) else json.dumps(config).encode()
        registry.blobs[digest(body)] = body
        return document(Made([TAR, OTHER]), config=entry(OCI_CONFIG, body))

    return make


GOOD: Json = json.loads(Made([TAR, OTHER]).config)
DIFFS = GOOD["rootfs"]["diff_ids"]

MANIFESTS: dict[str, tuple[bytes | Callable[[Held], bytes], str]] = {
    "both-kinds": (document(Made([TAR]), manifests=[]), "ambiguous manifest"),
    "list-with-config": (json.dumps({"schemaVersion": 2, "manifests": [], "config": {}}).encode(), "ambiguous"),
    "says-index": (document(Made([TAR]), mediaType=OCI_INDEX), "mediaType"),
    "schema-1": (document(Made([TAR]), schemaVersion=1), "schema 1"),
    "no-version": (document(Made([TAR]), schemaVersion=None), "schemaVersion"),
    "no-json": (b"{", "not JSON"),
    "no-object": (b"[]", "cannot unmarshal array into Go value"),
    "deep": (b"[" * 100_000, "not JSON"),
    "not-unicode": (b'{"schemaVersion":2,"x":"\xff"}', "no list of layers"),
    "empty": (b"", "not JSON"),
    "huge": (b" " * (5 << 20), "larger than"),
    "no-config": (document(Made([TAR]), config=None), "not an object"),
    "no-layers": (document(Made([TAR]), layers=None), "no list of layers"),
    "layers-of-text": (
        document(Made([TAR]), layers=["x"]),
        "cannot unmarshal string into Go struct field Manifest.layers",
    ),
    "too-many-layers": (
        document(Made([TAR]), layers=json.loads(Made([TAR]).manifest)["layers"] * 501),
        "more than 500",
    ),
    "digest-path": (layered(digest="sha256:../../../../etc/passwd"), "digest"),
    "digest-upper": (layered(digest=digest(OTHER).upper()), "digest"),
    "digest-short": (layered(digest="sha256:abc"), "digest"),
    "digest-md5": (layered(digest="md5:" + "0" * 32), "digest"),
    "digest-huge": (layered(digest="sha256:" + "0" * 1_000_000), "digest"),
    "digest-nul": (layered(digest=digest(OTHER)[:-1] + "\0"), "digest"),
    "digest-number": (layered(digest=5), "digest"),
    "size-negative": (layered(size=-1), "impossible size"),
    "size-text": (
        layered(size="5"),
        "cannot unmarshal string into Go struct field Descriptor.layers.size of type int64",
    ),
    "size-float": (layered(size=1e300), "cannot unmarshal number 1e+300"),
    "size-absurd": (layered(size=1 << 62), "impossible size"),
    "size-true": (layered(size=True), "cannot unmarshal bool"),
    "size-none": (layered(size=None), "impossible size"),
    "size-petabyte": (layered(size=1 << 49), "that its manifest says"),
    "size-one-more": (layered(size=len(Made([OTHER]).layers[0]) + 1), "that its manifest says"),
    "size-one-less": (layered(size=len(Made([OTHER]).layers[0]) - 1), "that its manifest says"),
    "foreign": (
        layered(
            mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            digest=digest(b"nowhere"),
            urls=["http://127.0.0.1:1/layer", "file:///etc/passwd"],
        ),
        "has not got it, and no other place is asked for it",
    ),
    "encrypted": (layered(mediaType=OCI_LAYER + "+gzip+encrypted"), "unsupported layer media type"),
    "no-tar": (layered(mediaType="application/octet-stream"), "unsupported layer media type"),
    "type-number": (layered(mediaType=7), "mediaType"),
    "chart": (
        document(Made([TAR]), config={**entry("application/vnd.cncf.helm.config.v1+json", b"{}")}),
        'Encountered remote "application/vnd.cncf.helm.config.v1+json"(unknown) when fetching',
    ),
    "missing-layer": (layered(digest=digest(b"nowhere")), "blob unknown"),
    "config-huge": (document(Made([TAR]), config={**entry(OCI_CONFIG, b""), "size": 9 << 20}), "larger than"),
    "config-no-json": (configured(b"\x7fELF"), "not JSON"),
    "config-list": (configured([]), "cannot unmarshal array into Go value of type image.Image"),
    "config-rootfs": (configured({**GOOD, "rootfs": {"type": "windows"}}), "rootfs"),
    "config-diffs": (configured({**GOOD, "rootfs": {"type": "layers", "diff_ids": ["sha256:../x", "x"]}}), "digest"),
    "config-fewer": (configured({**GOOD, "rootfs": {"type": "layers", "diff_ids": DIFFS[:1]}}), "names 1"),
    "config-swapped": (configured({**GOOD, "rootfs": {"type": "layers", "diff_ids": DIFFS[::-1]}}), "unpacks to"),
    "config-of-the-wrong-type": (
        configured({**GOOD, "config": "privileged"}),
        "cannot unmarshal string into Go struct field Image.config",
    ),
    "config-history": (configured({**GOOD, "history": [1]}), "history"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifests(daemon: Fragile, registry: Held, unharmed: None, case: str) -> None:
    made, words = MANIFESTS[case]
    body = made(registry) if callable(made) else made
    assert words in refused(pull(daemon, served(registry, body)))


def test_served_as_something_else(daemon: Fragile, registry: Held, unharmed: None) -> None:
    name = served(registry, Made([TAR, OTHER]).manifest, OCI_INDEX)
    assert "was served as" in refused(pull(daemon, name))


def test_other_content_than_asked_for(daemon: Fragile, registry: Held, unharmed: None) -> None:
    image = Made([TAR, OTHER])
    name = served(registry, image.manifest)
    for blob in (digest(image.layers[1]), digest(image.config)):
        honest = registry.blobs[blob]
        registry.blobs[blob] = bytes(len(honest))
        assert "digest" in refused(pull(daemon, name))
        registry.blobs[blob] = honest
    registry.manifests[digest(b"asked")] = (OCI_MANIFEST, image.manifest)
    assert "verification failed" in refused(pull(daemon, f"{registry.host}/a/b@{digest(b'asked')}"))


# -------------------------------------------------------------------------------------------------------------- indexes


def index(*entries: Json, **more: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries], **more}).encode()


def here(kind: str, body: bytes) -> Json:
    return {**entry(kind, body), "platform": {"os": "linux", "architecture": GOOD["architecture"]}}


def test_an_index_that_leads_to_itself(daemon: Fragile, registry: Held, unharmed: None) -> None:
    """A digest cannot; a registry that serves it as if it did is found out."""
    inner = {**here(OCI_INDEX, b"x"), "size": 300}
    body = index(inner)
    registry.manifests[digest(b"x")] = (OCI_INDEX, body)
    assert "verification failed" in refused(pull(daemon, served(registry, body, OCI_INDEX)))


def test_an_index_of_indexes_of_indexes(daemon: Fragile, registry: Held, unharmed: None) -> None:
    kind, body = OCI_MANIFEST, Made([TAR, OTHER]).manifest
    for _ in range(6):
        registry.manifests[digest(body)] = (kind, body)
        kind, body = OCI_INDEX, index(here(kind, body))
    assert "nested deeper than 3" in refused(pull(daemon, served(registry, body, kind)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (index(*[here(OCI_MANIFEST, b"x")] * 10_001), "more than 10000"),
        (index({"digest": digest(b"nowhere"), "size": 5, "platform": "linux"}), "cannot unmarshal string"),
        (index(), "no matching manifest"),
        (index(5), "cannot unmarshal number"),  # type: ignore[arg-type]
        (json.dumps({"schemaVersion": 2, "manifests": {}}).encode(), "cannot unmarshal object"),
        (index({**here(OCI_MANIFEST, Made([TAR, OTHER]).manifest), "size": 1}), "size does not match"),
    ],
    ids=["10001", "platform", "empty", "number", "object", "size"],
)
def test_indexes(daemon: Fragile, registry: Held, unharmed: None, body: bytes, words: str) -> None:
    image = Made([TAR, OTHER])
    registry.manifests[digest(image.manifest)] = (OCI_MANIFEST, image.manifest)
    assert words in refused(pull(daemon, served(registry, body, OCI_INDEX)))


# --------------------------------------------------------------------------------------------------------------- layers


def compressed(codec: str, data: bytes) -> bytes:
    if codec == "zstd":
        from backports import zstd

        return zstd.compress(data)
    import bz2
    import lzma

    compress: dict[str, Callable[[bytes], bytes]]
    compress = {"gzip": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
    return compress[codec](data)


def with_layer(registry: Held, tar: bytes, layer: bytes, kind: str = OCI_LAYER + "+gzip") -> str:
    """An image whose second layer is these bytes, and is said to unpack to `tar`."""
    image = Made([TAR, tar])
    registry.blobs.update({digest(layer): layer, digest(image.config): image.config})
    layers = [json.loads(image.manifest)["layers"][0], entry(kind, layer)]
    return served(registry, document(image, layers=layers))


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["short", "garbled", "garbage", "nothing"])
def test_damaged_streams(daemon: Fragile, registry: Held, unharmed: None, codec: str, damage: str) -> None:
    """IMG-02, DOS-02."""
    good = compressed(codec, tars.archive(tars.file("f", hashlib.sha256(b"x").digest() * 5000)))
    layer = {
        "short": good[:-9],
        "garbled": good[:40] + bytes(byte ^ 255 for byte in good[40:60]) + good[60:],
        "garbage": good[:12] + b"\xff" * 500,
        "nothing": b"",
    }[damage]
    kind = OCI_LAYER + f"+{codec}"
    refused(pull(daemon, with_layer(registry, OTHER, layer, kind)))


@pytest.mark.parametrize("codec", ["xz", "bz2"])
def test_codecs_that_no_layer_has(daemon: Fragile, registry: Held, unharmed: None, codec: str) -> None:
    """CVE-2014-9357: what Docker unpacked by xz as root. A layer is a tar, gzip or zstd, whatever it says it is."""
    refused(pull(daemon, with_layer(registry, OTHER, compressed(codec, OTHER))))


@pytest.mark.parametrize(
    "entries",
    [
        [tars.file("../../../../etc/escaped")],
        [tars.symlink("out", "/etc"), tars.file("out/../../../escaped")],
        [tars.link("shadow", "../../../../../../etc/shadow"), tars.file("../x")],
        [tars.file("x" * 300)],
        [tars.file("a/" * 3000 + "f")],
        [tars.file("..")],
    ],
    ids=["dots", "through-a-link", "hard-link", "long-name", "deep", "dotdot"],
)
def test_entries(daemon: Fragile, registry: Held, unharmed: None, entries: list[bytes]) -> None:
    """A few of tests/hostile/test_layers.py on the whole way, to see that it is the same way."""
    tar = tars.archive(*entries)
    refused(pull(daemon, with_layer(registry, tar, gzip.compress(tar))))
    assert not Path("/etc/escaped").exists()


def test_a_small_layer_of_a_million_entries(daemon: Fragile, registry: Held, unharmed: None) -> None:
    """DOS-01: bounded by the number of entries, long before the disk's inodes are."""
    tar = b"".join(tars.file(f"f{number}", b"") for number in range(3000)) + b"x" * 512
    refused(pull(daemon, with_layer(registry, tar, gzip.compress(tar))))


# -------------------------------------------------------------------------------------- odd, and to be kept working


def two_members(data: bytes) -> bytes:
    return gzip.compress(data[:700]) + gzip.compress(data[700:])


ODD: dict[str, tuple[bytes, bytes, str]] = {
    "gzip-of-two-members": (OTHER, two_members(OTHER), OCI_LAYER + "+gzip"),
    "zstd": (OTHER, compressed("zstd", OTHER), OCI_LAYER + "+zstd"),
    "plain-tar": (OTHER, OTHER, OCI_LAYER),
    "gzip-said-to-be-a-tar": (OTHER, gzip.compress(OTHER), DOCKER_LAYER),
    "tar-said-to-be-gzip": (OTHER, OTHER, DOCKER_LAYER + ".gzip"),
    "nothing-but-an-end": (bytes(1024), gzip.compress(bytes(1024)), OCI_LAYER + "+gzip"),
    "padded": (OTHER + bytes(20480), gzip.compress(OTHER + bytes(20480)), OCI_LAYER + "+gzip"),
    "same-layer-twice": (TAR, Made([TAR]).layers[0], OCI_LAYER + "+gzip"),
    "absolute-names": (
        tars.archive(tars.file("/etc/made2", b"x"), tars.link("etc/again", "/etc/made2")),
        gzip.compress(tars.archive(tars.file("/etc/made2", b"x"), tars.link("etc/again", "/etc/made2"))),
        OCI_LAYER + "+gzip",
    ),
    "many-zeros": (
        tars.archive(tars.file("zeros", bytes(20 << 20))),
        gzip.compress(tars.archive(tars.file("zeros", bytes(20 << 20)))),
        OCI_LAYER + "+gzip",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_layers_work(daemon: Fragile, registry: Held, unharmed: None, case: str) -> None:
    name = with_layer(registry, *ODD[case])
    assert str(pull(daemon, name)[-1].get("status")).startswith("Status: Downloaded newer image")
    assert daemon.ask("DELETE", f"/images/{name}")[0] == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"mediaType": None},
        {"annotations": {"org.opencontainers.image.title": "../../../etc/passwd", "x": "y" * 10_000}},
        {"subject": {"mediaType": OCI_MANIFEST, "digest": digest(b"s"), "size": 1}, "artifactType": "a/b"},
        {"config": {**entry("", Made([TAR, OTHER]).config)}},
        {"config": {**entry(OCI_CONFIG, Made([TAR, OTHER]).config), "urls": ["http://127.0.0.1:1/"], "data": "e30="}},
    ],
    ids=["no-type", "annotations", "subject", "config-type", "urls"],
)
def test_odd_manifests_work(daemon: Fragile, registry: Held, unharmed: None, changes: Json) -> None:
    """Also CVE-2025-62725: a title that is a path is not used as one here; and `urls` are not asked."""
    name = served(registry, document(Made([TAR, OTHER]), **changes))
    assert str(pull(daemon, name)[-1].get("status")).startswith("Status: Downloaded newer image")
    assert daemon.ask("DELETE", f"/images/{name}")[0] == 200


def test_an_image_without_layers_works(daemon: Fragile, registry: Held, unharmed: None) -> None:
    image = Made([])
    registry.blobs.update(image.blobs)
    name = served(registry, image.manifest)
    assert str(pull(daemon, name)[-1].get("status")).startswith("Status: Downloaded newer image")
    assert daemon.ask("DELETE", f"/images/{name}")[0] == 200


# --------------------------------------------------------------------------------------------------- names and archives


@pytest.mark.parametrize(
    "query",
    ["fromImage=../x", "fromImage=a/../b", "fromImage=a%00b", "fromImage=a%0ab", "fromImage=/etc", "fromImage=a//b",
     "fromImage=a&tag=../x", "fromImage=a&tag=..%2fx", "fromImage=a&tag=" + "x" * 129, "fromImage=a@sha256:../x",
     "fromImage=" + "a" * 300, "fromImage=" + "0" * 64, "fromImage=a&tag=sha256:abc", "fromImage=A", "fromImage=%ff",
     "fromImage=127.0.0.1:99999999/a", "fromImage=[::1/a", "fromImage=user:pass@host/a", "fromImage=http://x/y",
     "fromImage=busybox&platform=../x", "fromImage=busybox&platform=a/b/c/d",
     "fromImage=busybox&platform=nosuch", "fromImage=busybox&platform=linux/nosuch",
     "fromImage=busybox&platform=nosuch/amd64", "fromImage=busybox&platform=windows/amd64",
     "fromSrc=-&platform=nosuch", "fromSrc=-&platform=windows/amd64",
     "fromSrc=ftp://x/y.tar", "fromSrc=file:///etc/passwd", "fromSrc=http://", "fromSrc=http://x:99999/"],
)  # fmt: skip
def test_names(daemon: Fragile, unharmed: None, query: str) -> None:
    """IMG-03."""
    status, answer = daemon.ask("POST", f"/images/create?{query}")
    assert status == 400 and "\n" not in answer["message"], (status, answer)


def listed(**manifest: Any) -> bytes:
    image = Made([OTHER])
    found = {"Config": "c.json", "RepoTags": ["loaded:1"], "Layers": ["l.tar"], **manifest}
    return tars.archive(
        tars.file("c.json", image.config),
        tars.file("l.tar", image.layers[0]),
        tars.file("manifest.json", json.dumps([found]).encode()),
    )


ARCHIVES: dict[str, bytes] = {
    "nothing": b"",
    "garbage": b"\x00\xff" * 2000,
    "config-outside": listed(Config="../../../../etc/passwd"),
    "config-absolute": listed(Config="/etc/passwd"),
    "layer-outside": listed(Layers=["../../../../etc/passwd"]),
    "layer-of-another-kind": listed(Layers=[{"x": 1}]),
    "tag-outside": listed(RepoTags=["../../x:1"]),
    "tag-number": listed(RepoTags=[5]),
    "fewer-layers": listed(Layers=[]),
    "config-is-a-layer": listed(Config="l.tar"),
    "link-to-the-host": tars.archive(
        tars.symlink("c.json", "/etc/passwd"),
        tars.file("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": [], "Layers": []}]).encode()),
    ),
    "links-in-a-circle": tars.archive(
        tars.symlink("c.json", "d.json"),
        tars.symlink("d.json", "c.json"),
        tars.file("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": [], "Layers": []}]).encode()),
    ),
    "blob-of-another-name": tars.archive(tars.file(f"blobs/sha256/{'0' * 64}", b"x"), tars.file("index.json", index())),
    "index-without-images": tars.archive(tars.file("index.json", b'{"schemaVersion":2,"manifests":[{}]}')),
    "ambiguous": tars.archive(tars.file("index.json", index(layers=[]))),
    "short": listed()[:-9000],
    "short-gzip": gzip.compress(listed())[:-20],
    "manifest-of-5-megabytes": tars.archive(tars.file("manifest.json", b" " * (5 << 20))),
    "two-thousand-images": tars.archive(tars.file("manifest.json", json.dumps([{}] * 2000).encode())),
    "deep": tars.archive(tars.file("manifest.json", b"[" * 100_000)),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives(daemon: Fragile, registry: Held, unharmed: None, case: str) -> None:
    refused(messages(daemon, "/images/load?quiet=1", ARCHIVES[case]))


def test_a_bomb_of_zeros_as_an_archive(daemon: Fragile, registry: Held, unharmed: None) -> None:
    """DOS-01: a gigabyte that is a megabyte on the wire; no part of it is memory."""
    bomb = gzip.compress(bytes(64 << 20), 9) * 16
    refused(messages(daemon, "/images/load?quiet=1", bomb))


@pytest.mark.parametrize(
    "data", [listed(), gzip.compress(listed()), b"".join((listed()[:-1024], bytes(10240))), two_members(listed())],
    ids=["plain", "gzip", "padded", "two-members"],
)  # fmt: skip
def test_odd_archives_work(daemon: Fragile, registry: Held, unharmed: None, data: bytes) -> None:
    assert messages(daemon, "/images/load?quiet=1", data)[-1] == {"stream": "Loaded image: loaded:1\n"}
    assert daemon.ask("DELETE", "/images/loaded:1")[0] == 200
