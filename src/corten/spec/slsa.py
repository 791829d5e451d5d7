"""SLSA provenance as JSON, versions 1 and 0.2 (slsa.dev/spec/v1.1/provenance, slsa.dev/spec/v0.2/provenance), with the
extensions by which BuildKit describes a build (its documentation, "SLSA definitions")."""

from __future__ import annotations

from typing import Any

import msgspec

PREDICATE = {"v1": "https://slsa.dev/provenance/v1", "v0.2": "https://slsa.dev/provenance/v0.2"}
BUILD_TYPE = {
    "v1": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
    "v0.2": "https://mobyproject.org/buildkit@v1",
}
Json = dict[str, Any]


class _Struct(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Dependency(_Struct, frozen=True):
    """`digest` is by algorithm: sha256, or sha1 for a commit."""

    uri: str
    digest: dict[str, str] = {}


class Named(_Struct, frozen=True):
    """A secret, or an SSH agent."""

    id: str
    optional: bool = False


class Local(_Struct, frozen=True):
    name: str


class Parameters(_Struct, frozen=True):
    frontend: str
    args: dict[str, str] = {}
    secrets: list[Named] = []
    ssh: list[Named] = []
    locals: list[Local] = []


class ConfigSource(_Struct, frozen=True):
    uri: str = ""
    digest: dict[str, str] = {}
    path: str = ""


class Metadata(_Struct, frozen=True):
    """BuildKit's own: where the sources came from, and the Dockerfile with the lines of each step."""

    vcs: dict[str, str] = {}
    source: Json = {}
    layers: Json = {}


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What both versions say, each at its place. Times are RFC 3339; `steps` is the definition of the build."""

    source: ConfigSource
    parameters: Parameters
    platform: str
    dependencies: list[Dependency]
    builder: str
    invocation: str
    started: str
    finished: str
    metadata: Metadata
    complete_request: bool
    complete_dependencies: bool
    hermetic: bool
    reproducible: bool
    steps: list[Json] | None = None


def predicate(found: Provenance, version: str) -> Json:
    """For a statement. `version` is v1 or v0.2."""
    plain: Json = msgspec.to_builtins(_v1(found) if version == "v1" else _v02(found))
    return plain


def _v1(p: Provenance) -> Json:
    build = {"buildConfig": {"llbDefinition": p.steps}} if p.steps is not None else {}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE["v1"],
            "externalParameters": {"configSource": p.source, "request": p.parameters},
            "internalParameters": {**build, "builderPlatform": p.platform},
            "resolvedDependencies": p.dependencies,
        },
        "runDetails": {
            "builder": {"id": p.builder},
            "metadata": {
                "invocationID": p.invocation,
                "startedOn": p.started,
                "finishedOn": p.finished,
                "buildkit_metadata": p.metadata,
                "buildkit_hermetic": p.hermetic,
                "buildkit_completeness": {
                    "request": p.complete_request,
                    "resolvedDependencies": p.complete_dependencies,
                },
                "buildkit_reproducible": p.reproducible,
            },
        },
    }


def _v02(p: Provenance) -> Json:
    source = {"uri": p.source.uri, "digest": p.source.digest, "entryPoint": p.source.path}
    build = {"buildConfig": {"llbDefinition": p.steps}} if p.steps is not None else {}
    ours = BUILD_TYPE["v0.2"]
    return {
        "builder": {"id": p.builder},
        "buildType": ours,
        "invocation": {
            "configSource": {key: value for key, value in source.items() if value},
            "parameters": p.parameters,
            "environment": {"platform": p.platform},
        },
        **build,
        "materials": p.dependencies,
        "metadata": {
            "buildInvocationID": p.invocation,
            "buildStartedOn": p.started,
            "buildFinishedOn": p.finished,
            "completeness": {
                "parameters": p.complete_request,
                "environment": True,
                "materials": p.complete_dependencies,
            },
            "reproducible": p.reproducible,
            f"{ours}#metadata": p.metadata,
            f"{ours}#hermetic": p.hermetic,
        },
    }
