"""What `build` asks for: where the files are, the query, what its steps may have of ours; and a build in progress."""

from __future__ import annotations

import os

from corten.cli import buildsecrets
from corten.cli.buildoutputs import annotated, outputs
from corten.cli.buildsources import PIPED, named, sources
from corten.cli.errors import CommandError, UsageError
from corten.client import builds, quickjson
from corten.client.conversation import Conversation, Said

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.cli.buildcaches import Caches
    from corten.cli.buildoutputs import Output
    from corten.cli.buildsecrets import Secret
    from corten.cli.buildsources import Sources
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.cli.userconfig import UserConfig
    from corten.client.api import Client, Json
    from corten.client.conversation import Answer, Answering

_KINDS = ("sbom", "provenance")  # of attestations
_SWITCHES = {"true": "", "1": "", "false": "disabled=true", "0": "disabled=true"}


class Asked:
    """One build. `secrets` are by id, `agents` sockets by id."""

    __slots__ = ("agents", "caches", "config", "debug", "outputs", "query", "secrets", "sources")

    def __init__(self, config: UserConfig, sources: Sources, query: list[tuple[str, str]]) -> None:
        self.config = config
        self.sources = sources
        self.query = query
        self.secrets: dict[str, Secret] = {}
        self.agents: dict[str, str] = {}
        self.outputs: list[Output] = []
        self.caches: Caches | None = None
        self.debug = False  # a shell when a step has failed

    def begin(self, client: Client, before_shell: Callable[[], None] = lambda: None) -> Conversation:
        """Raises ApiError when the daemon refuses it at once."""
        answering = self._answering()
        if self.debug:
            answering["shell"] = lambda question: _shell(question["why"], before_shell)
        return Conversation(builds.build(client, self._whole_query()), answering)

    def _whole_query(self) -> list[tuple[str, str]]:
        found = self.sources
        keys = {source: directory.key for source, directory in found.directories.items()}
        query = [*self.query, ("dockerfile", found.dockerfile), ("directories", quickjson.dumps(keys))]
        query += [("remote", found.remote)] if found.remote else []
        query += [("contexts", quickjson.dumps(found.contexts))] if found.contexts else []
        asked = [output.asked() for output in self.outputs]
        query += [("outputs", quickjson.dumps(asked))] if asked else []
        query += self.caches.query() if self.caches is not None else []
        return [*query, ("debug", "1")] if self.debug else query

    def _answering(self) -> dict[str, Answering]:
        """A LookupError in one of these says that there is none of what is asked for."""
        found: dict[str, Answering] = {
            "walk": self._walk,
            "secret": lambda question: Said(self.secrets[question["id"]].read()),
            "output": lambda question: self.outputs[question["number"]].taking(),
            "agent": lambda question: Said(b"" if question["id"] in self.agents else None),
            "connect": lambda question: buildsecrets.AgentConnection(self.agents[question["id"]]),
            "credentials": lambda question: buildsecrets.credentials(self.config, question["host"]),
        }
        if self.sources.remote == PIPED:
            found["upload"] = lambda question: buildsecrets.Piped(self.sources.head)
        return {**found, **(self.caches.answering() if self.caches is not None else {})}

    def _walk(self, question: Json) -> Answer:
        return self.sources.directories[question["source"]].walk(question["follow"], question["exclude"])


def _shell(why: str, before: Callable[[], None]) -> Answer:
    from corten.cli.buildshell import Shell

    return Shell(why, before)


def asked(session: Session, flags: Flags, inline: str | None = None) -> Asked:
    """What the command line asks for; `inline` is the text of a Dockerfile. Raises CommandError."""
    contexts = named(flags.many("build-context"))
    found = Asked(session.config, sources(flags.words[0], flags.text("file"), contexts, inline), query(session, flags))
    found.secrets = buildsecrets.secrets(flags.many("secret"))
    found.agents = buildsecrets.agents(flags.many("ssh"))
    if flags.on("debug-shell"):
        from corten.cli import buildshell

        if not buildshell.possible():
            raise CommandError(buildshell.WITHOUT)
        found.debug = True
    if flags.many("cache-from") or flags.many("cache-to"):
        from corten.cli.buildcaches import Caches

        found.caches = Caches(flags.many("cache-from"), flags.many("cache-to"))
    found.outputs = outputs(flags.many("output"), flags.on("push"), flags.on("load"), flags.many("tag"))
    if flags.many("annotation"):
        found.outputs = annotated(found.outputs, flags.many("annotation"), flags.many("tag"))
    return found


def query(session: Session, flags: Flags) -> list[tuple[str, str]]:
    """What the flags ask for."""
    arguments = _arguments(session, flags.many("build-arg"))
    pairs = [("t", name) for name in flags.many("tag")]
    pairs += [("extrahosts", entry) for entry in flags.many("add-host")]
    pairs += [("buildargs", quickjson.dumps(arguments))] if arguments else []
    labels = flags.pairs("label")
    pairs += [("labels", quickjson.dumps(labels))] if labels else []
    attested = _attested(flags)
    pairs += [("attest", quickjson.dumps(attested))] if attested else []
    stages = flags.many("no-cache-filter")
    pairs += [("nocachefilter", quickjson.dumps(stages))] if stages else []
    devices = _allowed(flags.many("allow"))
    pairs += [("devices", quickjson.dumps(devices))] if devices else []
    limits = [{"Name": each.name, "Soft": each.soft, "Hard": each.hard} for each in flags.value("ulimit")]
    pairs += [("ulimits", quickjson.dumps(limits))] if limits else []
    platforms = flags.many("platform")
    pairs += [("platform", ",".join(platforms))] if platforms else []
    for name, key in (("target", "target"), ("network", "networkmode")):
        pairs += [(key, flags.text(name))] if flags.text(name) else []
    for name, key in (("memory", "memory"), ("shm-size", "shmsize")):
        pairs += [(key, str(flags.number(name)))] if flags.number(name) else []
    for name, key in (("no-cache", "nocache"), ("pull", "pull"), ("check", "check")):
        pairs += [(key, "1")] if flags.on(name) else []
    return pairs


def _allowed(given: Sequence[str]) -> list[str]:
    """The CDI devices of --allow, "*" for all. A network of the host needs no leave of ours. Raises UsageError."""
    found = []
    for text in given:
        kind, equals, name = text.partition("=")
        if kind == "device":
            found.append(name if equals else "*")
        elif text != "network.host":
            raise UsageError(f"invalid entitlement {text}: want device, device=NAME or network.host")
    return found


def _attested(flags: Flags) -> dict[str, str]:
    """By kind, what --attest, --sbom and --provenance ask for. Raises UsageError."""
    given = [*flags.many("attest"), *(f"type={kind},{flags.text(kind)}" for kind in _KINDS if flags.text(kind))]
    found = {}
    for text in given:
        fields = [_SWITCHES.get(field.lower(), field) for field in text.split(",")]
        kind = next((field.removeprefix("type=") for field in fields if field.startswith("type=")), "")
        if kind not in _KINDS:
            raise UsageError(f"invalid attestation {text}: want type=sbom or type=provenance")
        found[kind] = ",".join(field for field in fields if field and not field.startswith("type="))
    return found


def _arguments(session: Session, given: list[str]) -> dict[str, str]:
    """--build-arg, and the proxies of config.json; a name without a value is our own variable, if there is one."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    if session.config.proxies:
        from corten.cli.options import proxies

        for text in proxies.missing(session.config.proxies, session.host, list(found)):
            name, _, value = text.partition("=")
            found[name] = value
    return found
