"""The configuration of a registry: a TOML file (docs/registry.md), and flags, which take precedence."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from corten.errors import Invalid
from corten.registry.client.urls import is_url
from corten.registry.server.access import ANONYMOUS_EVERYTHING, Access
from corten.registry.server.collect import GRACE, UPLOADS, Policy
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.names import check_name
from corten.registry.server.quotas import Quota
from corten.registry.server.retention import Keep
from corten.registry.server.rights import ANONYMOUS, EVERYTHING, Rights, Rule, check_pattern
from corten.registry.server.sections import Section
from corten.registry.server.tokens import LIFETIME, Tokens, key_in
from corten.registry.server.upstreams import REVALIDATE, Upstream
from corten.registry.server.webhooks import ACTIONS, Webhook

LISTEN = "127.0.0.1:5000"
_LISTEN = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]*)):([0-9]{1,5})")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
PUBLIC = Rule((ANONYMOUS,), ("**",), frozenset(["read"]))


@dataclass(frozen=True, slots=True)
class TokenSettings:
    enabled: bool = True  # only where there are accounts
    service: str = "corten-registry"
    lifetime: int = LIFETIME
    realm: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    listen: str = LISTEN
    root: Path | None = None
    htpasswd: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    anonymous_read: bool = False
    rules: tuple[Rule, ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: TokenSettings = TokenSettings()
    collect: Policy = field(default_factory=Policy)
    quotas: tuple[Quota, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    collect_every: float = 0  # seconds; 0: by `corten registry gc` only

    @property
    def address(self) -> tuple[str, int]:
        found = _LISTEN.fullmatch(self.listen)
        if found is None or int(found[3]) > 65535:
            raise Invalid(f"listen is {self.listen!r}; want HOST:PORT")
        return found[1] or found[2] or "127.0.0.1", int(found[3])


def from_file(path: Path) -> Config:
    """Read a file. Paths in it are relative to its directory. Raises Invalid with the path and what is wrong in it."""
    try:
        section = Section(tomllib.loads(path.read_text()))
        found = _read(section, path.parent)
        section.end()
        return found
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: {error}") from error
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error


def _read(section: Section, base: Path) -> Config:
    tls, groups, tokens = section.table("tls"), section.table("groups"), section.table("tokens")
    collect = section.table("collect")
    found = Config(
        listen=section.text("listen", LISTEN),
        root=_path(section, "root", base),
        htpasswd=_path(section, "htpasswd", base),
        certificate=_path(tls, "certificate", base),
        key=_path(tls, "key", base),
        anonymous_read=section.flag("anonymous_read"),
        rules=tuple(_rule(each) for each in section.tables("allow")),
        groups={name: groups.texts(name) for name in groups.names()},
        tokens=_tokens(tokens),
        collect_every=collect.seconds("every", 0),
        collect=_policy(collect),
        quotas=tuple(_quota(each) for each in section.tables("quota")),
        upstreams=tuple(_upstream(each, base) for each in section.tables("upstream")),
        webhooks=tuple(_webhook(each) for each in section.tables("webhook")),
    )
    for each in (tls, tokens, collect):
        each.end()
    prefixes = [upstream.prefix for upstream in found.upstreams]
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            raise Invalid(f"there are two upstreams with the prefix {prefix!r}")
    return found


def _path(section: Section, key: str, base: Path) -> Path | None:
    text = section.text(key)
    return base / text if text else None


def _rule(section: Section) -> Rule:
    found = Rule(section.texts("users"), section.texts("repositories"), frozenset(section.texts("rights")))
    section.end()
    return found


def _tokens(section: Section) -> TokenSettings:
    default = TokenSettings()
    lifetime = int(section.seconds("lifetime", default.lifetime))
    if lifetime < 60:
        raise Invalid("tokens.lifetime has to be a minute or more: clients take what is shorter for that")
    service, realm = section.text("service", default.service), section.text("realm")
    return TokenSettings(section.flag("enabled", True), service, lifetime, realm)


def _policy(section: Section) -> Policy:
    untagged = section.seconds("untagged", -1)
    return Policy(
        section.seconds("grace", GRACE),
        None if untagged < 0 else untagged,
        section.seconds("uploads", UPLOADS),
        tuple(_keep(each) for each in section.tables("keep")),
    )


def _keep(section: Section) -> Keep:
    last, newer = section.number("last", -1), section.seconds("newer", -1)
    repositories = section.texts("repositories") or ("**",)
    found = Keep(
        tuple(check_pattern(pattern) for pattern in repositories),
        section.texts("tags") or ("*",),
        None if last < 0 else last,
        None if newer < 0 else newer,
    )
    section.end()
    return found


def _quota(section: Section) -> Quota:
    found = Quota(section.text("prefix").strip("/"), section.size("bytes"))
    section.end()
    return found


def _upstream(section: Section, base: Path) -> Upstream:
    password, file = section.text("password"), _path(section, "password_file", base)
    found = Upstream(
        section.text("prefix").strip("/"),
        section.text("url"),
        section.text("username"),
        file.read_text().strip() if file else password,
        section.seconds("revalidate", REVALIDATE),
        section.flag("insecure"),
    )
    if found.prefix:
        check_name(found.prefix)
    section.end()
    return found


def _webhook(section: Section) -> Webhook:
    default = Webhook("")
    headers = section.table("headers")
    found = Webhook(
        section.text("url"),
        section.texts("events") or default.actions,
        section.flag("blobs"),
        {name: headers.text(name) for name in headers.names()},
        section.seconds("timeout", default.timeout),
        section.number("attempts", default.attempts),
        section.seconds("pause", default.pause),
        section.number("waiting", default.waiting),
    )
    section.end()
    if not is_url(found.url):
        raise Invalid(f"webhook.url is {found.url!r}; want an http:// or https:// URL")
    for name, value in found.headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable():
            raise Invalid(f"webhook.headers: {name!r} is no header, or its value has control characters")
    for action in found.actions:
        if action not in ACTIONS:
            raise Invalid(f"webhook.events: unknown event {action!r} (known: {', '.join(ACTIONS)})")
    if found.attempts < 1 or found.waiting < 1:
        raise Invalid("webhook.attempts and webhook.waiting have to be 1 or more")
    return found


def access(config: Config) -> Access:
    """Read the accounts and make the rules. Raises OSError or Invalid for a file that cannot be used."""
    rules = list(config.rules)
    if config.anonymous_read:
        rules.append(PUBLIC)
    if config.htpasswd is None:
        return Access(None, Rights(rules or [ANONYMOUS_EVERYTHING], config.groups))
    if not config.rules:
        rules.append(EVERYTHING)
    tokens = config.tokens
    made = None
    if tokens.enabled and config.root is not None:
        made = Tokens(key_in(config.root / "token.key"), tokens.service, tokens.lifetime, tokens.realm)
    return Access(Accounts.from_file(config.htpasswd), Rights(rules, config.groups), made)


def overlay(config: Config, **flags: object) -> Config:
    """`config` with the flags that were given: those that are not None, False or an empty list."""
    return replace(config, **{key: value for key, value in flags.items() if value not in (None, False, ())})  # type: ignore[arg-type]
