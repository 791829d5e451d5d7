"""The build checks: rules, what they say, and how they are configured (docs.docker.com/reference/build-checks)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corten.errors import Invalid
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.texts import quoted
from corten.units.booleans import parse_bool

URL = "https://docs.docker.com/go/dockerfile/rule/"

# Name, the address's last part, description.
_RULES = (
    ("StageNameCasing", "stage-name-casing", "Stage names should be lowercase"),
    ("FromAsCasing", "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword"),
    (
        "NoEmptyContinuation",
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    ("DuplicateStageName", "duplicate-stage-name", "Stage names should be unique"),
    ("ReservedStageName", "reserved-stage-name", "Reserved words should not be used as stage names"),
    (
        "JSONArgsRecommended",
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "MaintainerDeprecated",
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    ("UndefinedArgInFrom", "undefined-arg-in-from", "FROM command must use declared ARGs"),
    (
        "WorkdirRelativePath",
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the "
        "base image changes",
    ),
    ("UndefinedVar", "undefined-var", "Variables should be defined before their use"),
    (
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        "LegacyKeyValueFormat",
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        "InvalidBaseImagePlatform",
        "",
        "Base image platform does not match expected target platform",
    ),
    (
        "RedundantTargetPlatform",
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        "SecretsUsedInArgOrEnv",
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (
        "InvalidDefaultArgInFrom",
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value",
    ),
    ("CopyIgnoredFile", "copy-ignored-file", "Attempting to Copy file that is excluded by .dockerignore"),
    (
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is "
        "not intended to be a description comment, add an empty line or comment between the instruction and the "
        "comment.",
    ),
    ("ExposeProtoCasing", "expose-proto-casing", "Protocol in EXPOSE instruction should be lowercase"),
    (
        "ExposeInvalidFormat",
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a "
        "future release",
    ),
)
_ADDRESSES = {name: URL + last + "/" if last else "" for name, last, _ in _RULES}
_DESCRIPTIONS = {name: description for name, _, description in _RULES}
EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})
NAMES = tuple(_ADDRESSES)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is allowed and better not written."""

    rule: str
    message: str
    span: Span

    @property
    def url(self) -> str:
        """ "" for a rule without a page."""
        return _ADDRESSES[self.rule]

    @property
    def description(self) -> str:
        return _DESCRIPTIONS[self.rule]

    def __str__(self) -> str:
        return f"{self.rule}: {self.message} (line {self.span.line})"


@dataclass(frozen=True, slots=True)
class Checks:
    """Which rules are looked at; experimental ones only when they are named. `fail`: a finding ends the build."""

    skip_all: bool = False
    skip: frozenset[str] = frozenset()
    experimental_all: bool = False
    experimental: frozenset[str] = frozenset()
    fail: bool = False

    def wants(self, rule: str) -> bool:
        if rule in EXPERIMENTAL:
            return self.experimental_all or rule in self.experimental
        return not self.skip_all and rule not in self.skip

    def with_more(self, other: Checks) -> Checks:
        """For one instruction with a `# check=` above it."""
        return Checks(
            self.skip_all or other.skip_all,
            self.skip | other.skip,
            self.experimental_all or other.experimental_all,
            self.experimental | other.experimental,
            self.fail,
        )


def options(text: str) -> Checks:
    """`skip=RULE,RULE;error=true;experimental=all`. Raises Invalid."""
    skip, experimental, fail = "", "", False
    for part in text.strip().split(";", 2) if text.strip() else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in ("skip", "experimental", "error"):
            raise Invalid(f"failed to parse check options: invalid check option {quoted(name if equals else part)}")
        match name:
            case "skip":
                skip = value
            case "experimental":
                experimental = value
            case _:
                fail = _switch(part, value)
    return Checks(skip == "all", _names(skip), experimental == "all", _names(experimental), fail)


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",")) - {"", "all"}


def _switch(part: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError as error:
        raise Invalid(f"failed to parse check options: failed to parse check option {quoted(part)}: {error}") from None


def violation(findings: Iterable[Finding]) -> str:
    """What a build says that ends because of them."""
    rules = dict.fromkeys(finding.rule for finding in findings)
    return f"lint violation found for rules: {', '.join(rules)}"
