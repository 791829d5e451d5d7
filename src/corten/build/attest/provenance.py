"""What a build was made of and how, as SLSA provenance: every input with its digest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from corten.build import attributes
from corten.build.attest.options import ProvenanceOptions
from corten.build.attest.steps import numbered, sources, steps
from corten.build.attributes import redacted
from corten.build.contract import BuildRequest, RunStep
from corten.build.plan.graph import Base, Local, Node, Plan, Remote, Repository, Step
from corten.build.state import State
from corten.errors import Invalid
from corten.images.image import Image
from corten.spec import platform as platforms
from corten.spec import purl, slsa
from corten.spec.dockerfile.mounts import SecretMount, SshMount
from corten.spec.json import Json
from corten.spec.reference import parse

_VCS = "vcs:"
_UPLOAD = "http://buildkit-session/"  # the client's standard input


@dataclass(frozen=True, slots=True)
class Course:
    """How a build went, of one platform. `digests` are those of what was fetched, by its node's digest: `sha256:...` of
    a file, `sha1:...` of a commit; times are seconds since the epoch; `name` and `text` are the Dockerfile's."""

    request: BuildRequest
    plan: Plan
    states: Mapping[Node, State]
    digests: Mapping[str, str]
    name: str
    text: bytes
    started: float
    finished: float


def predicate(course: Course, options: ProvenanceOptions) -> Json:
    """Secrets are in it by their ids at most. With mode=min there are no values of arguments, labels and steps."""
    return slsa.predicate(_provenance(course, options), options.version)


def _provenance(course: Course, options: ProvenanceOptions) -> slsa.Provenance:
    given = attributes.of(course.request)
    whole = options.mode == "max"
    shown = {key: value for key, value in given.items() if _is_shown(key)}
    kept = shown if whole else attributes.stripped(shown)
    secrets, ssh = _secrets(course.plan)
    source, locals = _source(course, given), _locals(course)
    complete = not locals and (not source.uri or bool(source.digest))
    networked = any(isinstance(step, RunStep) and step.network != "none" for step in _work(course.plan))
    vcs = {key.removeprefix(_VCS): value for key, value in given.items() if key.startswith(_VCS) and value}
    described = {"source": sources(course.plan, course.name, course.text)} if whole else {}
    return slsa.Provenance(
        source=source,
        parameters=slsa.Parameters(
            attributes.FRONTEND,
            kept,
            secrets if whole else [],
            ssh if whole else [],
            [slsa.Local(name) for name in locals],
        ),
        platform=str(platforms.host()),
        dependencies=_dependencies(course),
        builder=options.builder,
        invocation=course.request.id,
        started=_time(course.started),
        finished=_time(course.finished),
        metadata=slsa.Metadata(vcs=vcs, layers=_layers(course) if whole else {}, **described),
        complete_request=kept == shown,
        complete_dependencies=complete,
        hermetic=complete and not networked,
        reproducible=options.reproducible,
        steps=steps(course.plan) if whole else None,
    )


_OF_THE_HOST = ("cgroup-parent", "image-resolve-mode", "platform", "cache-imports", "context", "filename")


def _is_shown(key: str) -> bool:
    """Not what says how this machine is to do it, nor what has a place of its own."""
    return key not in _OF_THE_HOST and not key.startswith(("attest:", _VCS))


def _work(plan: Plan) -> list[object]:
    return [node.work for node in plan.nodes if isinstance(node, Step)]


def _secrets(plan: Plan) -> tuple[list[slsa.Named], list[slsa.Named]]:
    mounts = [mount for step in _work(plan) if isinstance(step, RunStep) for mount in step.mounts]
    secrets = {mount.id: slsa.Named(mount.id, not mount.required) for mount in mounts if isinstance(mount, SecretMount)}
    ssh = {mount.id: slsa.Named(mount.id, not mount.required) for mount in mounts if isinstance(mount, SshMount)}
    return list(secrets.values()), list(ssh.values())


def _locals(course: Course) -> list[str]:
    """The client's directories, with that of the Dockerfile; a context at a URL is none."""
    found = {node.source for node in course.plan.nodes if isinstance(node, Local)}
    if course.request.text is None:
        found.add("dockerfile")
    if course.request.context is not None:
        found -= {"context"} if course.request.local_dockerfile else {"context", "dockerfile"}
    return sorted(found)


def _source(course: Course, given: Mapping[str, str]) -> slsa.ConfigSource:
    context, path = course.request.context, given.get("filename", course.name)
    if context is None:
        uri = given.get("context", "")
        return slsa.ConfigSource("" if uri.startswith(_UPLOAD) else uri, {}, path)
    return slsa.ConfigSource(context.uri, _digest(context.digest), path)


def _dependencies(course: Course) -> list[slsa.Dependency]:
    found: dict[str, slsa.Dependency] = {}
    if (context := course.request.context) is not None:
        found[context.uri] = slsa.Dependency(context.uri, _digest(context.digest))
    for node in course.plan.nodes:
        if isinstance(node, Base) and node.image is not None:
            one = _image(node.ref, node.image)
        elif isinstance(node, Remote):
            one = slsa.Dependency(redacted(node.url), _digest(course.digests[node.digest]))
        elif isinstance(node, Repository):
            one = slsa.Dependency(node.url.shown, _digest(course.digests[node.digest]))
        else:
            continue
        found[one.uri] = one
    return list(found.values())


def _image(ref: str, image: Image) -> slsa.Dependency:
    """By the digest that its registry has it by, or that of its manifest here."""
    try:
        reference = parse(ref)
    except Invalid:  # the id of an image
        return slsa.Dependency(f"docker-image://{ref}", _digest(image.id))
    of_registry = [parse(name) for name in image.repo_digests]
    known = [each.digest for each in of_registry if each.name == reference.name]
    uri = purl.of_image("docker" if known else "oci", reference, image.config.platform)
    return slsa.Dependency(uri, _digest(reference.digest or next(iter(known), image.manifest)))


def _digest(text: str) -> dict[str, str]:
    algorithm, _, value = text.partition(":")
    return {algorithm: value}


def _layers(course: Course) -> Json:
    return {
        f"{name}:0": [[blob.to_json() for blob in course.states[node].blobs]]
        for node, name in numbered(course.plan).items()
        if node in course.states and course.states[node].blobs
    }


def _time(seconds: float) -> str:
    whole = int(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((seconds - whole) * 1e6):06d}Z"
