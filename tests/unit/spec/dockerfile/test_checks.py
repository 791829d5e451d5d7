"""Each rule of the build checks: what breaks it with its sentence, and the same file written well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corten.errors import Invalid
from corten.spec.dockerfile.check_rules import NAMES, URL, Checks, Finding, options
from corten.spec.dockerfile.checks import MOST, Base, CheckOptions, check
from corten.spec.dockerfile.ignore import Patterns
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.stages import PlanOptions, plan
from corten.spec.platform import Platform
from dockerfile_parts.files import file

AUTOMATIC = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64"}
EVERYTHING = Checks(experimental_all=True)


def found(text: str, given: CheckOptions | None = None, target: str = "") -> list[str]:
    given = given or CheckOptions(automatic=AUTOMATIC, checks=EVERYTHING)
    parsed = file(text)
    findings = check(parsed, plan(parsed, PlanOptions(target, given.arguments, given.automatic)), given)
    return [str(finding) for finding in findings]


CASES = [
    ("FROM a AS Foo", "FROM a AS foo", "StageNameCasing: Stage name 'Foo' should be lowercase (line 1)"),
    ("FROM a as b", "from a as b", "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"),
    ("FROM a\nRUN a \\\n\n b", "FROM a\nRUN a \\\n b", "NoEmptyContinuation: Empty continuation line (line 4)"),
    (
        "FROM a\nRUN a\nrun b",
        "from a\nrun a\nrun b",
        "ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase) (line 3)",
    ),
    (
        "FROM a\nRun a",
        "FROM a\nRUN a",
        "ConsistentInstructionCasing: Command 'Run' should match the case of the command majority (uppercase) (line 2)",
    ),
    (
        "FROM a AS b\nFROM a AS b",
        "FROM a AS b\nFROM a AS c",
        'DuplicateStageName: Duplicate stage name "b", stage names should be unique (line 2)',
    ),
    (
        "FROM a AS scratch",
        "FROM a AS scratchy",
        'ReservedStageName: Stage name should not use the same name as reserved stage "scratch" (line 1)',
    ),
    (
        "FROM scratch\nCMD a",
        'FROM scratch\nCMD ["a"]',
        "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals "
        "(line 2)",
    ),
    (
        "FROM scratch\nENTRYPOINT a",
        'FROM scratch\nSHELL ["a"]\nENTRYPOINT a',
        "JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS "
        "signals (line 2)",
    ),
    (
        "FROM a\nMAINTAINER x",
        "FROM a\nLABEL maintainer=x",
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)",
    ),
    (
        "ARG VERSION=1\nFROM a:${VERSIN:-1}",
        "ARG VERSION=1\nFROM a:${VERSION:-1}",
        "UndefinedArgInFrom: FROM argument 'VERSIN' is not declared (did you mean VERSION?) (line 2)",
    ),
    (
        "FROM a\nWORKDIR b",
        "FROM a\nWORKDIR /\nWORKDIR b",
        'WorkdirRelativePath: Relative workdir "b" can have unexpected results if the base image changes (line 2)',
    ),
    (
        "FROM scratch\nENV FOO=1\nCOPY $FO /",
        "FROM scratch\nENV FOO=1\nCOPY $FOO$PATH /",
        "UndefinedVar: Usage of undefined variable '$FO' (did you mean $FOO?) (line 3)",
    ),
    (
        'FROM scratch\nCMD ["a"]\nCMD ["b"]',
        'FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]',
        "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only "
        "the last one will be used (line 2)",
    ),
    (
        "FROM a\nENV a b",
        "FROM a\nENV a=b",
        'LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 2)',
    ),
    (
        "FROM --platform=$TARGETPLATFORM a",
        "FROM --platform=$BUILDPLATFORM a",
        "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the "
        "default behavior (line 1)",
    ),
    (
        "FROM a\nENV AWS_SECRET_ACCESS=x",
        "FROM a\nENV SECRET_FILE=x PUBLIC_KEY=y MONKEY=z",
        'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "AWS_SECRET_ACCESS") '
        "(line 2)",
    ),
    (
        "FROM a\nARG password",
        "FROM a\nARG KEY_VERSION",
        'SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "password") (line 2)',
    ),
    (
        "ARG T\nFROM a:$T",
        "ARG T=1\nFROM a:$T",
        "InvalidDefaultArgInFrom: Default value for ARG a:$T results in empty or invalid base image name (line 2)",
    ),
    (
        "FROM --platform=linux/arm64 a AS b",
        "FROM --platform=linux/arm64 a AS b_arm64",
        'FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/arm64" (line 1)',
    ),
    (
        "FROM a AS b\n# wrong words\nARG V",
        "FROM a AS b\n# V is what\nARG V\n# no description\n\nARG W",
        "InvalidDefinitionDescription: Comment for ARG should follow the format: `# V <description>` (line 3)",
    ),
    (
        "FROM a\nEXPOSE 80/TCP",
        "FROM a\nEXPOSE 80/tcp",
        "ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase (line 2)",
    ),
    (
        "FROM a\nEXPOSE 1:80",
        "FROM a\nEXPOSE 80",
        "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:80' "
        "(line 2)",
    ),
]


@pytest.mark.parametrize(("bad", "good", "message"), CASES)
def test_rules(bad: str, good: str, message: str) -> None:
    arguments = {"T": "1"} if message.startswith("InvalidDefault") else {}
    given = CheckOptions(arguments, AUTOMATIC, checks=EVERYTHING)
    assert found(bad, given) == [message]
    assert found(good, given) == []


def test_a_rule_for_each_case() -> None:
    here = {message.partition(":")[0] for _, _, message in CASES} | {"CopyIgnoredFile"}
    assert set(NAMES) - here == {"InvalidBaseImagePlatform"}  # needs the image: below


@pytest.mark.parametrize(
    ("patterns", "line", "message"),
    [
        (["*.md"], "COPY a.md b.txt /", 'Attempting to Copy file "a.md" that is excluded by .dockerignore'),
        (["x"], "ADD x/y /", 'Attempting to Add file "x/y" that is excluded by .dockerignore'),
        (["**"], "COPY . /", 'Attempting to Copy file "." that is excluded by .dockerignore'),
        (["a"], "COPY . /", ""),
        (["*", "!a"], "COPY b /", ""),
        (["a"], "COPY --from=x a /", ""),
        (["*"], "ADD https://x/a /", ""),
        ([], "COPY a /", ""),
    ],
)
def test_ignored_files(patterns: list[str], line: str, message: str) -> None:
    given = CheckOptions(ignore=Patterns(patterns), checks=Checks())
    assert found(f"FROM a\n{line}", given) == ([f"CopyIgnoredFile: {message} (line 2)"] if message else [])


def test_what_needs_the_base_image() -> None:
    text = "FROM a\nCOPY $HOME_DIR /\nCMD x"
    assert found(text) == []
    assert len(found(text, CheckOptions(images={"a": Base()}))) == 2
    assert found(text, CheckOptions(images={"a": Base({"HOME_DIR": "/h"}, shell=True)})) == []


def test_the_platform_of_a_base_image() -> None:
    amd64, arm64 = Platform("linux", "amd64"), Platform("linux", "arm64")
    said = 'was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    given = CheckOptions(automatic=AUTOMATIC, made_for={("a", ""): arm64}, target=amd64)
    assert found("FROM a\nRUN x", given) == [f"InvalidBaseImagePlatform: Base image a {said} (line 1)"]
    assert found("FROM a\nRUN x", replace(given, target=arm64)) == []
    assert found("FROM b\nRUN x", given) == [], "nothing is known of it"
    asked = replace(given, made_for={("a", "linux/amd64"): arm64}, target=arm64)
    assert found("FROM --platform=$BUILDPLATFORM a\nRUN x", asked) == [
        f"InvalidBaseImagePlatform: Base image a {said} (line 1)"
    ]


def test_stages_that_the_target_does_not_need() -> None:
    text = "FROM a AS x\nENV a b\nFROM a AS y"
    assert len(found(text)) == 1
    assert found(text, CheckOptions(every_stage=False), target="y") == []
    assert len(found(text, CheckOptions(every_stage=False), target="x")) == 1


def test_skipped_in_the_file_and_for_one_instruction() -> None:
    assert found("# check=skip=FromAsCasing,StageNameCasing\nFROM a as B", CheckOptions()) == []
    assert found("# check=skip=all\nFROM a as B", CheckOptions()) == []
    one = "FROM a\n# check=skip=LegacyKeyValueFormat\nENV a b\nENV a b"
    assert [line.partition(":")[0] for line in found(one, CheckOptions())] == ["LegacyKeyValueFormat"]
    assert len(found("FROM a AS b\n# nothing\nARG x", CheckOptions())) == 0
    assert len(found("# check=experimental=all\nFROM a AS b\n# nothing\nARG x", CheckOptions())) == 1


def test_options() -> None:
    assert options("skip=A, B;error=true;experimental=C") == Checks(
        skip=frozenset("AB"), experimental=frozenset("C"), fail=True
    )
    assert options("") == Checks()
    for text in ("skp=all", "error", "error=perhaps"):
        with pytest.raises(Invalid, match="failed to parse check option"):
            options(text)


def test_a_finding_has_its_page() -> None:
    finding = Finding("FromAsCasing", "x", Span(3))
    assert finding.url == URL + "from-as-casing/"
    assert finding.description == "The 'as' keyword should match the case of the 'from' keyword"


def test_findings_are_bounded() -> None:
    assert len(found("FROM scratch\n" + "ENV a b\n" * (MOST + 100))) == MOST
