"""Image configurations that are wrong, or odd and right: each is one text in a document that is otherwise good.

`documents` gives them whole, `archive` as something to load. What dockerd does with each is in
tests/unit/spec/dockerd_configs.json, which tests/record_configs.py has written.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator

_DIGITS = "9" * 10_000
#: Members of the document.
MEMBERS: dict[str, str | bytes] = {
    "plain": '"config":{"Cmd":["a"],"Labels":{"a":"b"}}',
    "surrogate-label": '"config":{"Labels":{"a":"\\ud800"}}',
    "surrogate-label-key": '"config":{"Labels":{"\\udc00x":"1"}}',
    "surrogate-env": '"config":{"Env":["A=\\ud800"]}',
    "surrogate-cmd": '"config":{"Cmd":["\\ud800"]}',
    "surrogate-author": '"author":"\\ud800"',
    "surrogate-arch": '"architecture":"\\ud800"',
    "surrogate-history": '"history":[{"created_by":"\\ud800","comment":"\\udfff"}]',
    "surrogate-pair": '"config":{"Labels":{"a":"\\ud83d\\ude00"}}',
    "surrogate-reversed": '"config":{"Labels":{"a":"\\ude00\\ud83d"}}',
    "surrogate-twice": '"config":{"Labels":{"a":"\\ud83d\\ud83d\\ude00"}}',
    "raw-bad-utf8": b'"config":{"Labels":{"a":"x\xff\xe2\x82y"}}',
    "raw-utf8-surrogate": b'"config":{"Labels":{"a":"\xed\xa0\x80"}}',
    "raw-control": '"config":{"Labels":{"a":"x\x01"}}',
    "nul-escape": '"config":{"Labels":{"a":"x\\u0000"}}',
    "labels-list": '"config":{"Labels":[]}',
    "labels-number": '"config":{"Labels":1}',
    "labels-string": '"config":{"Labels":"x"}',
    "labels-nested": '"config":{"Labels":{"a":{"b":1}}}',
    "labels-null-value": '"config":{"Labels":{"a":null}}',
    "labels-number-value": '"config":{"Labels":{"a":1}}',
    "labels-bool-value": '"config":{"Labels":{"a":true}}',
    "labels-null": '"config":{"Labels":null}',
    "labels-dup": '"config":{"Labels":{"a":"1","a":"2"}}',
    "labels-dup-object": '"config":{"Labels":{"a":"1"},"Labels":{"b":"2"}}',
    "labels-case": '"config":{"labels":{"a":"1"},"LABELS":{"b":"2"}}',
    "labels-case-null": '"config":{"Labels":{"a":"1"},"labels":null}',
    "config-list": '"config":[]',
    "config-string": '"config":"x"',
    "config-number": '"config":1',
    "config-bool": '"config":true',
    "config-null": '"config":null',
    "config-case": '"Config":{"Cmd":["x"]}',
    "config-dup": '"config":{"Cmd":["x"]},"config":{"User":"u"}',
    "config-dup-null": '"config":{"Cmd":["x"]},"config":null',
    "cmd-string": '"config":{"Cmd":"x"}',
    "cmd-number": '"config":{"Cmd":1}',
    "cmd-number-in": '"config":{"Cmd":[1]}',
    "cmd-null-in": '"config":{"Cmd":[null,"x"]}',
    "cmd-object": '"config":{"Cmd":{}}',
    "cmd-empty": '"config":{"Cmd":[]}',
    "cmd-true": '"config":{"Cmd":true}',
    "cmd-dup": '"config":{"Cmd":["a","b"],"Cmd":["c"]}',
    "entrypoint-string": '"config":{"Entrypoint":"x"}',
    "entrypoint-object-in": '"config":{"Entrypoint":[{}]}',
    "env-object": '"config":{"Env":{"A":"b"}}',
    "env-number": '"config":{"Env":[1]}',
    "env-string": '"config":{"Env":"A=b"}',
    "env-null-in": '"config":{"Env":[null]}',
    "env-nested": '"config":{"Env":[["A=b"]]}',
    "user-number": '"config":{"User":0}',
    "user-null": '"config":{"User":null}',
    "tty-string": '"config":{"Tty":"yes"}',
    "tty-number": '"config":{"Tty":1}',
    "workdir-list": '"config":{"WorkingDir":[]}',
    "volumes-list": '"config":{"Volumes":["/a"]}',
    "volumes-value": '"config":{"Volumes":{"/a":1}}',
    "volumes-value-filled": '"config":{"Volumes":{"/a":{"b":1}}}',
    "volumes-value-null": '"config":{"Volumes":{"/a":null}}',
    "ports-list": '"config":{"ExposedPorts":["80/tcp"]}',
    "ports-value": '"config":{"ExposedPorts":{"80/tcp":"x"}}',
    "ports-odd": '"config":{"ExposedPorts":{"x/y":{}}}',
    "onbuild-number": '"config":{"OnBuild":[1]}',
    "onbuild-string": '"config":{"OnBuild":"x"}',
    "shell-string": '"config":{"Shell":"x"}',
    "shell-object": '"config":{"Shell":{}}',
    "stopsignal-number": '"config":{"StopSignal":9}',
    "stoptimeout-string": '"config":{"StopTimeout":"9"}',
    "stoptimeout-huge": '"config":{"StopTimeout":99999999999999999999}',
    "stoptimeout-float": '"config":{"StopTimeout":1.5}',
    "stoptimeout-whole-float": '"config":{"StopTimeout":1.0}',
    "stoptimeout-1e1": '"config":{"StopTimeout":1e1}',
    "stoptimeout-1e999": '"config":{"StopTimeout":1e999}',
    "stoptimeout-digits": f'"config":{{"StopTimeout":{_DIGITS}}}',
    "health-list": '"config":{"Healthcheck":[]}',
    "health-test-string": '"config":{"Healthcheck":{"Test":"x"}}',
    "health-interval-string": '"config":{"Healthcheck":{"Interval":"1s"}}',
    "health-retries-float": '"config":{"Healthcheck":{"Retries":1.5}}',
    "argsescaped-string": '"config":{"ArgsEscaped":"x"}',
    "unknown-in-config": '"config":{"Foo":[1,{"a":1e999}],"MemorySwap":-1}',
    "unknown-nan": '"foo":NaN',
    "unknown-infinity": '"foo":-Infinity',
    "unknown-1e999": '"foo":1e999',
    "unknown-digits": f'"foo":{_DIGITS}',
    "unknown-very-deep": f'"foo":{"[" * 20_000}1{"]" * 20_000}',
    "unknown-leading-zero": '"foo":01',
    "created-number": '"created":1',
    "created-text": '"created":"yesterday"',
    "created-empty": '"created":""',
    "created-null": '"created":null',
    "created-object": '"created":{}',
    "created-short": '"created":"2024-01-02"',
    "created-year-0": '"created":"0000-01-01T00:00:00Z"',
    "created-year-9999": '"created":"9999-12-31T23:59:59.999999999Z"',
    "created-feb-30": '"created":"2024-02-30T00:00:00Z"',
    "created-lower": '"created":"2024-01-02t03:04:05z"',
    "created-offset": '"created":"2024-01-02T03:04:05.123456789123+05:30"',
    "created-offset-big": '"created":"2024-01-02T03:04:05+25:00"',
    "created-comma": '"created":"2024-01-02T03:04:05,5Z"',
    "created-1-digit-hour": '"created":"2024-01-02T3:04:05Z"',
    "created-leap": '"created":"2024-01-02T23:59:60Z"',
    "created-1960": '"created":"1960-01-02T23:59:00Z"',
    "author-number": '"author":1',
    "author-null": '"author":null',
    "arch-number": '"architecture":5',
    "arch-missing": '"x":1',
    "os-list": '"os":[]',
    "variant-number": '"variant":8',
    "variant-null": '"variant":null',
    "docker-version-number": '"docker_version":1',
    "os-version-number": '"os.version":1',
    "os-features-string": '"os.features":"x"',
    "comment-number": '"comment":1',
    "container-number": '"container":1',
    "container-config-list": '"container_config":[]',
    "container-config-bad": '"container_config":{"Cmd":1}',
    "id-number": '"id":1',
    "parent-number": '"parent":1',
    "parent-text": '"parent":"x"',
    "size-text": '"Size":"x"',
    "history-object": '"history":{}',
    "history-string": '"history":"x"',
    "history-null": '"history":null',
    "history-entry-null": '"history":[null,{"created_by":"x"}]',
    "history-entry-number": '"history":[1]',
    "history-entry-list": '"history":[[]]',
    "history-created-number": '"history":[{"created":1}]',
    "history-created-text": '"history":[{"created":"x"}]',
    "history-created-null": '"history":[{"created":null}]',
    "history-created-by-list": '"history":[{"created_by":["x"]}]',
    "history-comment-number": '"history":[{"comment":1}]',
    "history-author-number": '"history":[{"author":1}]',
    "history-empty-text": '"history":[{"empty_layer":"x"}]',
    "history-empty-number": '"history":[{"empty_layer":1}]',
    "history-more-empty": '"history":[{"empty_layer":true},{"created_by":"x"},{"empty_layer":true}]',
    "history-too-many": '"history":[{"created_by":"x"},{"created_by":"y"},{"created_by":"z"}]',
    "history-too-few": '"history":[{"empty_layer":true}]',
    "history-case": '"history":[{"Created_By":"x"}]',
    "hostname-number": '"config":{"Hostname":1}',
    "two-errors": '"config":{"Hostname":1,"User":2}',
    "mac-number": '"config":{"MacAddress":1}',
    "networkdisabled-number": '"config":{"NetworkDisabled":1}',
    "image-number": '"config":{"Image":1}',
    "kelvin-key": '"config":{"Hoſtname":"kelvin","worKingdir":"/k"}',
}
#: In the place of rootfs; DIFF stands for the digest of the layer.
ROOTFS = {
    "rootfs-list": '"rootfs":[]',
    "rootfs-null": '"rootfs":null',
    "rootfs-missing": '"x":1',
    "rootfs-type-number": '"rootfs":{"type":1,"diff_ids":["DIFF"]}',
    "rootfs-type-missing": '"rootfs":{"diff_ids":["DIFF"]}',
    "rootfs-case": '"RootFS":{"Type":"layers","Diff_IDs":["DIFF"]}',
    "rootfs-ids-string": '"rootfs":{"type":"layers","diff_ids":"DIFF"}',
    "rootfs-ids-number": '"rootfs":{"type":"layers","diff_ids":[1]}',
    "rootfs-ids-null-in": '"rootfs":{"type":"layers","diff_ids":[null]}',
    "rootfs-ids-bad": '"rootfs":{"type":"layers","diff_ids":["sha256:x"]}',
    "rootfs-ids-null": '"rootfs":{"type":"layers","diff_ids":null}',
    "rootfs-dup": '"rootfs":{"type":"x"},"rootfs":{"type":"layers","diff_ids":["DIFF"]}',
}
WHOLE = {
    "whole-list": b"[]",
    "whole-null": b"null",
    "whole-number": b"1",
    "whole-string": b'"x"',
    "whole-empty": b"",
    "whole-broken": b"{",
}


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    return buffer.getvalue()


LAYER = _layer()
DIFF = "sha256:" + hashlib.sha256(LAYER).hexdigest()
_GOOD = f'"rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}}'
_BASE = ('"architecture":"amd64"', '"os":"linux"', '"created":"2024-01-02T03:04:05Z"')


def document(member: str | bytes = '"config":{}', rootfs: str = _GOOD) -> bytes:
    """A configuration with this member; it takes the place of the usual one of its name."""
    text = member if isinstance(member, bytes) else member.encode()
    name = text.split(b":", 1)[0] + b":"
    usual = (part.encode() for part in _BASE)
    return b"{%s}" % b",".join([text, *(part for part in usual if not part.startswith(name)), rootfs.encode()])


def documents() -> Iterator[tuple[str, bytes]]:
    for name, member in MEMBERS.items():
        yield name, document(member)
    for name, rootfs in ROOTFS.items():
        yield name, document(rootfs=rootfs.replace("DIFF", DIFF))
    yield from WHOLE.items()
    yield "whole-bom", b"\xef\xbb\xbf" + document()
    yield "whole-utf16", document().decode().encode("utf-16")
    yield "whole-trailing", document() + b"x"
    yield "whole-trailing-space", document() + b" \n"


def archive(config: bytes, tag: str, layer: bytes = LAYER) -> bytes:
    """What `docker save` writes: an image of this configuration and one layer."""
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": ["l/layer.tar"]}]).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry, data in ((name, config), ("l/layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
