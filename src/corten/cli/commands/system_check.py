"""corten system check: account for every byte that the engine keeps, find what is wrong, repair it."""

from __future__ import annotations

from corten.cli import progress
from corten.cli.columns import table
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import STDERR, out
from corten.cli.terminal import is_terminal
from corten.client import system
from corten.client.api import checked
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Json


def run(session: Session, flags: Flags) -> int:
    """Exit code 1 when something is wrong that was not repaired."""
    form = flags.text("format")
    if form not in ("", "table", "json"):
        raise CommandError(f"unknown format {form!r}: table or json")
    report = _report(session, flags)
    if form == "json":
        from corten.client import quickjson

        out(quickjson.dumps(report))
    else:
        _show(report, flags.on("verbose"), flags.on("repair"))
    return 1 if any(not problem["Repair"] for problem in report["Problems"]) else 0


def _report(session: Session, flags: Flags) -> Json:
    answer = system.check(session.client, flags.on("repair"), flags.on("deep"), flags.on("verbose"))
    found: list[Json] = []
    if is_terminal(STDERR):
        progress.show(answer.documents(), STDERR, found.append)
    else:
        found += [document["aux"] for document in answer.documents() if checked(document).get("aux")]
    answer.close()
    if not found:
        raise CommandError("the daemon ended the check without a report")
    return found[-1]


def _show(report: Json, verbose: bool, repaired: bool) -> None:
    rows = [
        [entry["Kind"], str(entry["Count"]), str(entry["Inodes"]), str(entry["Bytes"]), human_size(entry["Bytes"])]
        for entry in report["Usage"]
        if entry["Inodes"] or entry["Kind"] != "other"
    ]
    rows.append(["total", "", str(report["Inodes"]), str(report["Bytes"]), human_size(report["Bytes"])])
    out(f"{report['Root']}\n\n{table(['KIND', 'COUNT', 'INODES', 'BYTES', 'SIZE'], rows)}\n")
    if verbose:
        items = [[one["Kind"], str(one["Bytes"]), str(one["Inodes"]), one["Path"]] for one in report["Items"]]
        out(table(["KIND", "BYTES", "INODES", "PATH"], items) + "\n")
    problems = report["Problems"]
    for problem in problems:
        out(f"{problem['Kind']}: {problem['Message']}")
        remedy = problem["Remedy"]
        if problem["Repair"]:
            out(f"  repaired: {problem['Repair']}")
            remedy = remedy.partition("; then ")[2]
        if remedy:
            out(f"  to do: {remedy}")
    out(_verdict(report, problems, repaired))


def _verdict(report: Json, problems: list[Json], repaired: bool) -> str:
    read = f"{report['BlobsVerified']} blobs verified"
    if not problems:
        return f"{read}, nothing is wrong"
    left = sum(1 for problem in problems if not problem["Repair"])
    text = f"{read}, {len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
    if repaired:
        return f"{text}, {len(problems) - left} repaired"
    repairable = sum(1 for problem in problems if problem["Mendable"])
    return f"{text}; --repair fixes {repairable} of them" if repairable else text


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Account for every byte the engine keeps, and find what is damaged, missing or without an owner",
    (
        flag("deep", BOOL, "Also unpack every layer again and compare its tree with that"),
        flag("format", STRING, "'table' or 'json'"),
        flag("repair", BOOL, "Repair what can be repaired; what may be yours is moved to quarantine, never deleted"),
        flag("verbose", BOOL, "List everything that is on the disk", "v"),
    ),
    most=0,
)
