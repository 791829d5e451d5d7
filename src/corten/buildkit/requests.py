"""The attributes of BuildKit's frontend dockerfile.v0 as a request for a build."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from corten.build.attest import options as attest
from corten.build.contract import Asked, BuildRequest, Limits
from corten.errors import Invalid, Unsupported
from corten.spec.git_url import GitUrl
from corten.spec.protobuf.control import SolveRequest

_CAPABILITIES = frozenset(
    f"moby.buildkit.frontend.{name}" for name in ("inputs", "subrequests", "contexts", "gitquerystring")
)
_UPLOAD = "http://buildkit-session/"


@dataclass(frozen=True, slots=True)
class BuildAsked:
    """`names` are what the client calls a source, `sessions` ids of those that serve one in place of the build's own,
    `upload` the path of a context on the client's standard input."""

    request: BuildRequest
    names: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, str] = field(default_factory=dict)
    upload: str = ""


def asked(
    attributes: Mapping[str, str],
    solve: SolveRequest,
    id: str,
    inputs: Callable[[str], str | GitUrl] = lambda key: "",
) -> BuildAsked:
    """`solve` is the request that the frontend's attributes belong to; `inputs` gives the named context that an input
    is.

    Raises Invalid, Unsupported.
    """
    check_capabilities(attributes.get("frontend.caps", ""))
    for key in ("contextsubdir", "source"):
        if attributes.get(key):
            raise Unsupported(f"the attribute {key} is not supported yet")
    remote, upload = attributes.get("context", ""), ""
    if remote.startswith(_UPLOAD):
        remote, upload = "", "/" + remote.removeprefix(_UPLOAD)
    names = {"context": attributes.get("contextkey", ""), "dockerfile": attributes.get("dockerfilekey", "")}
    no_cache = attributes.get("no-cache")
    request = BuildRequest(
        id=id,
        remote=remote,
        local_dockerfile="dockerfilekey" in attributes,
        dockerfile="" if attributes.get("filename", "Dockerfile") == "Dockerfile" else attributes["filename"],
        target=attributes.get("target", ""),
        arguments=_below(attributes, "build-arg:"),
        labels=_below(attributes, "label:"),
        outputs=outputs_of(solve),
        platform=attributes.get("platform", ""),
        index=attributes.get("multi-platform") == "true",
        pull=attributes.get("image-resolve-mode") == "pull",
        no_cache=no_cache == "",
        no_cache_stages=tuple(name for name in (no_cache or "").split(",") if name),
        network=_network(attributes.get("force-network-mode", ""), solve.entitlements),
        extra_hosts=tuple(_hosts(attributes.get("add-hosts", ""))),
        devices=tuple(_devices(solve.entitlements)),
        limits=_limits(attributes),
        contexts=_contexts(attributes, inputs),
        cache_imports=_cache_imports(attributes),
        cache_exports=tuple(Asked(each.type, each.attributes) for each in solve.cache.exports) if solve.cache else (),
        attest=attest.asked_by(attributes),
        attributes=attributes,
        recorded=False,
    )
    sessions = _below(attributes, "local-sessionid:")
    return BuildAsked(request, {key: value for key, value in names.items() if value}, sessions, upload)


def outputs_of(solve: SolveRequest) -> tuple[Asked, ...]:
    if solve.exporters:
        return tuple(Asked(each.type, each.attributes) for each in solve.exporters)
    return (Asked(solve.exporter, solve.exporter_attributes),) if solve.exporter else ()


def _cache_imports(attributes: Mapping[str, str]) -> tuple[Asked, ...]:
    """`cache-imports`, JSON, and names of old clients. Raises Invalid."""
    names = tuple(Asked("registry", {"ref": name}) for name in _row(attributes.get("cache-from", "")))
    text = attributes.get("cache-imports")
    if not text:
        return names
    try:
        found = msgspec.json.decode(text, type=list[_CacheEntry])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"invalid value for cache-imports: {error}") from None
    return (*names, *(Asked(each.Type, each.Attrs) for each in found))


class _CacheEntry(msgspec.Struct):
    Type: str = ""
    Attrs: dict[str, str] = {}


def check_capabilities(text: str) -> None:
    """Raises Invalid for one that a frontend must have, and this one has not."""
    for name in filter(None, text.split(",")):
        plain = name.removesuffix("+forward")
        if plain == name and name not in _CAPABILITIES:
            raise Unsupported(f"unknown frontend capability {name[:100]}")


def _below(attributes: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}


def _contexts(attributes: Mapping[str, str], inputs: Callable[[str], str | GitUrl]) -> dict[str, str | GitUrl]:
    found: dict[str, str | GitUrl] = {}
    for key, value in _below(attributes, "context:").items():
        name = key.partition("::")[0]
        found[name] = inputs(value.removeprefix("input:")) if value.startswith("input:") else value
    return found


def _network(mode: str, entitlements: Iterable[str]) -> str:
    if mode not in ("", "none", "host", "default", "sandbox"):
        raise Invalid(f"invalid network mode: {mode[:100]!r}")
    if mode == "host" and "network.host" not in set(entitlements):
        raise Invalid("network.host is not allowed")
    return "default" if mode in ("", "sandbox") else mode


def _devices(entitlements: Iterable[str]) -> Iterator[str]:
    """Of the entitlement `device`, for all, and `device=NAME[,...]`, for one."""
    for entitlement in entitlements:
        kind, equals, rest = entitlement.partition("=")
        if kind == "device":
            yield rest.partition(",")[0].removeprefix("name=") if equals else "*"


def _hosts(text: str) -> list[str]:
    found = []
    for entry in _row(text):
        name, equals, address = entry.partition("=")
        if not equals:
            raise Invalid(f"invalid value for add-hosts: {entry[:100]!r}")
        found.append(f"{name}:{address}")
    return found


def _limits(attributes: Mapping[str, str]) -> Limits:
    def number(key: str) -> int:
        return _number(key, attributes.get(key, ""))

    return Limits(
        memory=number("memory"),
        memory_swap=number("memswap"),
        cpu_shares=number("cpushares"),
        cpu_period=number("cpuperiod"),
        cpu_quota=number("cpuquota"),
        cpuset_cpus=attributes.get("cpusetcpus", ""),
        cpuset_mems=attributes.get("cpusetmems", ""),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        shm_size=number("shm-size"),
        ulimits=tuple(_ulimit(entry) for entry in _row(attributes.get("ulimit", ""))),
    )


def _ulimit(text: str) -> tuple[str, int, int]:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    return name, _number("ulimit", soft), _number("ulimit", hard or soft)


def _number(key: str, text: str) -> int:
    if not text:
        return 0
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()) or len(text) > 19:
        raise Invalid(f"invalid value for {key}: {text[:100]!r} is not a number")
    return int(text)


def _row(text: str) -> list[str]:
    try:
        return [entry for row in csv.reader(io.StringIO(text), strict=True) for entry in row if entry]
    except csv.Error as error:
        raise Invalid(f"invalid value: {text[:100]!r}: {error}") from None
