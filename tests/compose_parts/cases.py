"""Cases of the Compose corpus: a text file each, with the files that it is about and what Docker Compose made of them.

    flags: -f a.yaml -p name              global flags of `compose`, none by default
    env: NAME=value OTHER='a b'           the environment, beside HOME and PWD
    run: --services                       flags of `config`; may be repeated; by default three forms
    # why                                 remarks
    -- compose.yaml --                    files of the directory
    ...
    -- out --format json --               what the oracle printed; /DIR is the directory, /UP the one above
    -- error --                           what it said instead, without its warnings
    -- warnings --                        what it warned of, a line each, sorted
    -- ours --                            our own words, where they differ on purpose, or where the oracle's vary

`tests/record_compose.py` writes the last four.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "compose_corpus"
DIRECTORY, ABOVE = "/DIR", "/UP"
RUNS = ("", "--format json", "--hash *")
LISTS = ("--variables", "--services", "--images", "--volumes", "--networks", "--models")
HOME = "/home/user"
_SECTION = re.compile(r"^-- (.+) --$")
_WARNING = re.compile(r'^time="[^"]*" level=(?:warning|warn) msg="(.*)"$')
NOTHING = subprocess.DEVNULL
_RESULTS = ("out", "error", "warnings")


@dataclass
class Case:
    name: str
    head: str = ""
    files: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    """By section: "out --format json", "error", "warnings"."""
    ours: str = ""

    @property
    def flags(self) -> list[str]:
        return [word for value in self._values("flags") for word in shlex.split(value)]

    @property
    def runs(self) -> list[str]:
        return self._values("run") or list(RUNS)

    @property
    def environ(self) -> dict[str, str]:
        given = [word for value in self._values("env") for word in shlex.split(value)]
        return {"HOME": HOME, "PATH": "/usr/bin:/bin"} | {
            name: value for name, _, value in (each.partition("=") for each in given)
        }

    def _values(self, key: str) -> list[str]:
        return [line[len(key) + 1 :].strip() for line in self.head.splitlines() if line.startswith(f"{key}:")]

    def lay_out(self, directory: Path) -> Path:
        """Make the files below `directory`; where the command runs."""
        here = directory / "case"
        here.mkdir()
        for name, text in self.files.items():
            path = here / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return here

    def text(self) -> str:
        parts = [self.head]
        sections = {**self.files, **self.results, **({"ours": self.ours} if self.ours else {})}
        for name, content in sections.items():
            parts.append(f"-- {name} --\n{content}{'' if content.endswith(chr(10)) or not content else chr(10)}")
        return "".join(parts)


def parse(name: str, text: str) -> Case:
    case = Case(name)
    section = ""
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        match = _SECTION.match(line.rstrip("\n"))
        if match is not None:
            section = match[1]
            _content(case, section, "")
        elif not section:
            case.head += line
        else:
            _content(case, section, line)
    return case


def _content(case: Case, section: str, line: str) -> None:
    if section == "ours":
        case.ours += line
        return
    target = case.results if section.split()[0] in _RESULTS else case.files
    target[section] = target.get(section, "") + line


def load(name: str) -> Case:
    return parse(name, (CORPUS / f"{name}.txt").read_text(errors="surrogateescape"))


def names() -> list[str]:
    return sorted(path.stem for path in CORPUS.glob("*.txt"))


def section(kind: str, run: str) -> str:
    return f"{kind} {run}".strip()


def record(case: Case, oracle: str, directory: Path) -> dict[str, str]:
    """What the oracle makes of a case, as sections."""
    here = case.lay_out(directory)
    results: dict[str, str] = {}
    warnings: set[str] = set()
    for run in case.runs:
        words = [oracle, *case.flags, "config", *shlex.split(run)]
        done = subprocess.run(
            words,
            cwd=here,
            env={**case.environ, "PWD": str(here)},
            capture_output=True,
            text=True,
            stdin=-3,
            timeout=60,
        )
        said = [placed(line, here) for line in done.stderr.splitlines()]
        warnings |= {_unquoted(match[1]) for line in said if (match := _WARNING.match(line)) is not None}
        if done.returncode:
            results[section("error", run)] = "\n".join(line for line in said if not _WARNING.match(line)) + "\n"
            if run == RUNS[0] and case.runs == list(RUNS):
                break
            continue
        results[section("out", run)] = placed(comparable(done.stdout, run), here)
    if any(DIRECTORY in text or ABOVE in text for text in results.values()) or "env_file" in "".join(
        case.files.values()
    ):
        results.pop("out --hash *", None)
    if warnings:
        results["warnings"] = "\n".join(sorted(warnings)) + "\n"
    return results


def placed(text: str, here: Path) -> str:
    """With the same paths wherever the case was laid out."""
    return text.replace(str(here), DIRECTORY).replace(str(here.parent), ABOVE)


def comparable(text: str, run: str) -> str:
    """Docker Compose prints lists in any order."""
    lines = text.rstrip("\n").split("\n")
    return "\n".join(sorted(lines) if run in LISTS else lines) + "\n"


def _unquoted(text: str) -> str:
    return text.replace('\\"', '"').replace("\\\\", "\\")
