"""A project as an artifact: its form, its files' other names, what is refused and what is asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from compose_parts.world import World
from corten.compose.errors import ComposeError
from corten.compose.loader.select import with_profiles
from corten.compose.model import Project
from corten.compose.publishing import artifact, questions, sensitive
from corten.compose.publishing.artifact import FILE, VARIABLES, Layer
from corten.compose.publishing.layers import published
from corten.compose.refusals import Refused
from corten.spec import digest as digests

BASE = Layer(FILE, "compose.yaml", b"services: {a: {image: x}}\n")


def loaded(world: World, text: str, **options: Any) -> Project:
    return with_profiles(world.load(text, resolve_env=False, **options), ["*"])


def read(*layers: Layer, version: str = "1.1") -> dict[str, bytes]:
    """What a reader makes of these."""
    entries = artifact.entries(artifact.manifest(layers, version, "2026-01-01T00:00:00Z"), "place")
    contents = {digests.of(each.content): each.content for each in layers}
    return artifact.unpacked([(each, contents[each.digest]) for each in entries], "place")


# -------------------------------------------------------------------------------------------------------- the format


def test_as_docker_compose_writes_it() -> None:
    document = json.loads(artifact.manifest([BASE], "1.1", "2026-01-01T00:00:00Z"))
    assert document == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.docker.compose.project",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
            "data": "e30=",
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.compose.file+yaml",
                "digest": digests.of(BASE.content),
                "size": len(BASE.content),
                "annotations": {"com.docker.compose.file": "compose.yaml", "com.docker.compose.version": "2.40.3"},
                "data": base64.b64encode(BASE.content).decode(),
            }
        ],
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    }
    old = json.loads(artifact.manifest([BASE], "1.0", "2026-01-01T00:00:00Z"))
    assert old["config"]["mediaType"] == "application/vnd.docker.compose.config.empty.v1+json"
    assert "artifactType" not in old and {**old, "config": 0} == {
        key: 0 if key == "config" else value for key, value in document.items() if key != "artifactType"
    }


@pytest.mark.parametrize("version", artifact.VERSIONS)
def test_what_is_written_is_read(version: str) -> None:
    over = Layer(FILE, "over.yaml", b"services: {b: {image: y}}")
    base, env = Layer(FILE, "1.yaml", b"services: {}", extended=True), Layer(VARIABLES, "1.env", b"A=1")
    assert read(BASE, over, base, env, version=version) == {
        "compose.yaml": BASE.content + b"\n---\n" + over.content,
        "1.yaml": base.content,
        "1.env": env.content,
    }


HOSTILE: dict[str, tuple[Callable[[], object], str]] = {
    **{
        repr(name): (lambda name=name, kind=kind: read(BASE, Layer(kind, name, b"x", extended=kind == FILE)), "no name")  # type: ignore[misc]
        for kind in (FILE, VARIABLES)
        for name in ("", ".", "..", "../x", "/etc/passwd", "a\\b", "a\0b", "x" * 256)
    },
    "another file's name": (lambda: read(BASE, Layer(VARIABLES, "compose.yaml", b"x")), "two files 'compose.yaml'"),
    "no Compose file": (lambda: read(Layer(VARIABLES, "a", b"x")), "no Compose file"),
    "very many": (lambda: read(*[BASE] * 501), "more than 500 files"),
    "an image": (lambda: artifact.entries(b'{"config": {"mediaType": "image"}, "layers": []}', "p"), "but image"),
    "nothing": (lambda: artifact.entries(b"{}", "p"), "p is not a compose project OCI artifact"),
    "no JSON": (lambda: artifact.entries(b"[" * 100_000, "p"), "invalid OCI artifact"),
    "wrong types": (lambda: artifact.entries(b'{"layers": {}}', "p"), "invalid OCI artifact"),
    "a large file": (
        lambda: artifact.entries(
            json.dumps(
                {
                    "artifactType": artifact.PROJECT,
                    "layers": [{"mediaType": FILE, "digest": digests.of(b""), "size": 1 << 40}],
                }
            ).encode(),
            "p",
        ),
        "a file of 1099511627776 bytes",
    ),
    "an index of images": (lambda: artifact.project_in(b'{"manifests": [{}]}', "p"), "doesn't refer to compose"),
}


@pytest.mark.parametrize(("act", "why"), HOSTILE.values(), ids=HOSTILE)
def test_what_means_harm_is_refused(act: Callable[[], object], why: str) -> None:
    with pytest.raises(ComposeError) as caught:
        act()
    assert why in str(caught.value)


def test_an_index_leads_to_the_project() -> None:
    entry = {"artifactType": artifact.PROJECT, "digest": digests.of(b"x"), "size": 1}
    assert artifact.project_in(json.dumps({"manifests": [{}, entry]}).encode(), "p") == entry["digest"]
    assert artifact.project_in(artifact.manifest([BASE], "1.1", ""), "p") is None


# --------------------------------------------------------------------------------------------------------- the files


def test_what_files_name_comes_along(world: World) -> None:
    """Everything else stays as it was written, wherever the name stands."""
    for name in ("a.env", "b.env", "sub/c.env"):
        world.write(f"{name[-5].upper()}=1\n", name)
    base_text = "services:\n  base:\n    env_file: [c.env]\n    extends: {service: root, file: ./root.yaml}\n"
    world.write(base_text, "sub/base.yaml")
    world.write("services: {root: {image: x}}\n", "sub/root.yaml")
    text = """# of a shop
x-files: &files {env_file: ["./a.env"]}
services:
  one: {<<: *files, extends: {file: 'sub/base.yaml', service: base}, image: x} # kept
  two:
    image: ${IMAGE:-y}
    env_file:
      - path: "${NAME:-b}.env"
        required: false
      - a.env
  three: {image: z, extends: {service: two}, env_file: none.env}
"""
    world.write("", "none.env")
    found = published(loaded(world, text))
    own, base, root = found.files
    names = {layer.content: layer.name for layer in (*found.variables, base, root)}
    a, b, c = names[b"A=1\n"], names[b"B=1\n"], names[b"C=1\n"]
    assert own.content.decode() == (
        text.replace('"./a.env"', a).replace("- a.env", f"- {a}").replace('"${NAME:-b}.env"', b)
        .replace("'sub/base.yaml'", base.name).replace("none.env", names[b""])
    )  # fmt: skip
    assert (own.name, own.extended, base.extended, root.extended) == ("compose.yaml", False, True, True)
    assert base.content.decode() == base_text.replace("c.env", c).replace("./root.yaml", root.name)
    assert len(found.variables) == 4 and all(layer.name.endswith(".env") for layer in found.variables)


def test_the_artifact_is_the_project(world: World) -> None:
    """What is read again is what was published, but for where it is."""
    world.write("K=v\n", "sub/a.env")
    world.write("services: {base: {labels: {x: y}, env_file: a.env}}\n", "sub/base.yaml")
    text = "name: p\nservices: {a: {image: x, extends: {file: sub/base.yaml, service: base}}}\n"
    before = world.load(text).services
    found = published(loaded(world, text))
    for name, content in read(*found.files, *found.variables).items():
        world.write(content.decode(), f"there/{name}")
    assert world.load(files=("there/compose.yaml",)).services == before


def test_local_includes_are_refused(world: World) -> None:
    world.write("services: {b: {image: x}}\n", "b.yaml")
    with pytest.raises(ComposeError) as caught:
        published(loaded(world, "services: {a: {image: x}}\ninclude:\n  - path: [b.yaml]\n"))
    assert str(caught.value).startswith(
        f"{world.directory}/compose.yaml:3: cannot publish compose file with local includes: "
    )


# ----------------------------------------------------------------------------------------------- what is asked first


def asked(world: World, text: str, answers: str = "yyy", with_variables: bool = True) -> list[str]:
    """The questions, in order."""
    project = loaded(world, text)
    found: list[str] = []
    left = iter(answers)

    def ask(question: str) -> bool:
        found.append(question)
        return next(left) == "y"

    questions.check(project, published(project), with_variables, ask)
    return found


def test_questions(world: World) -> None:
    token = f"ghp_{'aB1' * 12}"
    text = f"services: {{a: {{image: x, environment: [T={token}, B=1], volumes: ['/srv:/s:ro', 'v:/v']}}}}\n"
    text += "volumes: {v: }\n"
    mounts, secrets, variables = asked(world, text)
    assert mounts.splitlines()[3:] == ["a", "/srv:/s:ro", "Are you ok to publish these bind mount declarations?"]
    assert secrets.splitlines()[2:4] == ["Github authentication", '"services.a.environment.T": ghp_aB...']
    assert token not in secrets and f"Service/Config  a\nB=1\nT={token}\n" in variables
    for answers in ("n", "yn", "yyn"):
        with pytest.raises(questions.Declined):
            asked(world, text, answers)
    assert asked(world, "services: {a: {image: x, profiles: [p]}}\n", "") == []


REFUSALS = {
    "variables": ("services: {a: {image: x, environment: [A=1]}}\n", 'service "a" has environment variable(s)'),
    "files of variables": ("services: {a: {image: x, env_file: e.env}}\n", 'service "a" has env_file declared.'),
    "configs": (
        "services: {a: {image: x, configs: [c]}}\nconfigs: {c: {environment: HOME}}\n",
        'config "case_c" is declare as an environment variable.',
    ),
    "no image to publish": ("services:\n  a: {build: .}\n", 'for service(s):\n- "a"'),
    "one of a profile": ("services:\n  a: {build: ., profiles: [p]}\n", 'for service(s):\n- "a"'),
}  # fmt: skip


@pytest.mark.parametrize(("text", "why"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_published(world: World, text: str, why: str) -> None:
    world.write("", "e.env")
    with pytest.raises((Refused, ComposeError)) as caught:
        asked(world, text, "", with_variables=False)
    assert why in str(caught.value)


SECRETS = {
    "AWS Client ID": "AKIA1234567890ABCDEF",
    "AWS Secret Key": "aws = '12345+67890/abcdefghijklm+NOPQRSTUVWXYZ+'",
    "Azure Storage Account access key": f"AccountKey={'a+/9' * 21}ab==",
    "HTTP Basic Authentication": "Basic ZDp6cg==",
    "HTTP Bearer Authentication": "Bearer ZDp6cg==",
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "Mailchimp API Key": "1234567890abcdef1234567890abcdef-us99",
    "Private Key": "-----BEGIN RSA PRIVATE KEY-----\nx",
    "Slack token": f"xoxb-{'1a' * 10}",
    "Stripe API key": f"sk_live_{'1a' * 10}",
    "Twilio authentication": f"AC{'1a' * 16}",
    "URL with password": "postgres://user:pw@db/x",
    "npm auth token": "//registry.example/:_authToken=0af23f36-c523",
}


@pytest.mark.parametrize(("kind", "value"), SECRETS.items(), ids=SECRETS)
def test_kinds_of_secrets(kind: str, value: str) -> None:
    assert [each.kind for each in sensitive.find([("services.a.environment.X", value)])] == [kind]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("DB_PASSWORD", "hunter2hunter2zzQ9x81!kLmNop", True),
        ("DB_PASSWORD", "example", False),
        ("DB_PASSWORD_FILE", "/run/secrets/a-very-long-name-of-a-File", False),
        ("DB_PASSWORD", "${DB_PASSWORD:?say it in the environment}", False),
        ("GREETING", "hunter2hunter2zzQ9x81!kLmNop", False),
        ("URL", "https://example.com/path?x=a:b@c", False),
        ("URL", "postgres://user:$PASSWORD@db/x", False),
        ("IMAGE", "nginx:1.27@sha256:" + "1a" * 32, False),
    ],
)
def test_names_and_values(name: str, value: str, found: bool) -> None:
    assert bool(sensitive.find([(f"services.a.environment.{name}", value)])) is found
