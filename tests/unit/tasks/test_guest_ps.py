"""ps of a guest beside procps, for a process of this machine: the same titles, the same values."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from corten.errors import Invalid
from corten.guest import table
from corten.tasks import guest_ps
from corten.tasks.guest_ps import COLUMNS, check_titles, parse
from corten.vm import answers

ps = pytest.mark.skipif(not shutil.which("ps"), reason="needs ps (Debian package procps)")
NEVER_THE_SAME = {"user", "euser", "ruser", "uname"}  # names there, numbers here
MOVING = {"etime", "etimes", "c", "pcpu", "%cpu", "rss", "rssize", "rsz", "pmem", "%mem"}


@pytest.fixture
def sleeping() -> Iterator[int]:
    """A process that does nothing: it is stopped, so that its state and times stay as they are."""
    script = "import os, time; os.nice(3); print('x', flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", script, "x y"], stdout=subprocess.PIPE, start_new_session=True) as one:
        assert one.stdout is not None and one.stdout.readline()
        one.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, one.pid, os.WSTOPPED)
        yield one.pid
        one.kill()


def said(pid: int, *arguments: str) -> list[str]:
    return subprocess.run(
        ["ps", "-ww", *arguments, "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout.split("\n")


@pytest.fixture
def ps_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """ps reckons from the whole second of the start of the machine: with another fraction a process may have been begun
    in another minute."""
    booted = next(line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    monkeypatch.setattr(
        table, "time", SimpleNamespace(time=lambda: int(booted), clock_gettime=lambda _: 0, CLOCK_BOOTTIME=0)
    )


@ps
def test_the_start_of_a_process(sleeping: int) -> None:
    """A second is what ps leaves out, and what is lost between the two looks at the clock."""
    (row,) = table.rows([sleeping])
    shown = said(sleeping, "-o", "lstart=")[0]
    assert -0.1 < row["started"] - time.mktime(time.strptime(shown.strip())) < 2.1


@ps
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column(name: str, sleeping: int, ps_s_clock: None) -> None:
    title, value, _ = said(sleeping, "-o", name)
    columns = parse(["-o", "pid", "-o", name]) if name != "pid" else parse(["-o", "pid"])
    shown = columns.table(table.rows([sleeping]), time.time())
    assert shown.titles[-1] == title.strip()
    if name not in NEVER_THE_SAME | MOVING:
        assert shown.rows[0][-1] == value.strip()


@ps
@pytest.mark.parametrize("arguments", [["-f"], ["-ef"], ["-e"], ["-eo", "pid,args"], ["-o", "pid,comm", "-o", "stat"]])
def test_a_form(arguments: list[str]) -> None:
    lines = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [column.title for column in parse(arguments).columns] == lines[0].split()


@ps
@pytest.mark.parametrize("arguments", [["aux"], ["ax"], ["auxww"], ["axo", "pid,cmd"], ["-aux"]])
def test_a_form_of_bsd(arguments: list[str]) -> None:
    done = subprocess.run(["ps", *arguments], capture_output=True, text=True, check=True)
    assert [column.title for column in parse(arguments).columns] == done.stdout.splitlines()[0].split()


def test_titles() -> None:
    assert [column.title for column in parse(["-o", "pid,args=What it is"]).columns] == ["PID", "What it is"]
    for arguments in (["-o", "args"], ["-o", "pid=X"], ["-o", "pid="], []):
        with pytest.raises(Invalid, match="couldn't find PID field in ps output"):
            parse(arguments)
    check_titles("-o pid=PID,args")
    with pytest.raises(Invalid, match='specifying "args=PID" is not allowed'):
        check_titles("-o args=PID")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "pid,wchan"], "no column wchan"),
        (["-Z"], "no option -Z"),
        (["--sort=pid"], "no option --sort=pid"),
        (["-eo"], "-eo wants a list"),
        (["--format"], "--format wants a list"),
        (["--formats=pid"], "no option --formats=pid"),
        (["-"], "no option -"),
        (["1"], "no option 1"),
    ],
)
def test_what_is_not_known_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        parse(arguments)


def test_long_times(sleeping: int) -> None:
    (row,) = table.rows([sleeping])
    row |= {"cpu": 93784.2, "started": 1000.0}
    shown = guest_ps.Columns(tuple(COLUMNS[name] for name in ("time", "bsdtime", "etime", "etimes", "stime", "c")))
    found = shown.table([row], 1000.0 + 3 * 86400 + 4000).rows[0]
    assert found[:4] == ["1-02:03:04", "1563:04", "3-01:06:40", "263200"] and found[5] == "35"


def test_what_an_agent_says_has_the_shape_that_is_read(sleeping: int) -> None:
    rows = table.rows([sleeping, 1 << 22])
    assert [row.keys() for row in rows] == [answers.ROW.keys()]
    assert answers.shaped({"processes": rows}, answers.TABLE) == {"processes": rows}


@pytest.mark.parametrize("number", [-(1 << 63), (1 << 64) - 1])
def test_every_column_can_show_what_a_hostile_guest_says(number: int) -> None:
    values = {int: number, float: float(number), str: "\ud800\n"}
    said = {key: values[kind] for key, kind in answers.ROW.items() if isinstance(kind, type)}
    (row,) = answers.table({"processes": [said]})
    for column in guest_ps.COLUMNS.values():
        assert column.show(row, 1e9).isprintable()
