"""-it at a real terminal: size, Ctrl-C, job control, detach keys, exit codes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from e2e_parts.patience import until
from e2e_parts.terminal import Terminal

Open = Callable[..., Terminal]
PROMPT = r"# (\x1b\[J)?$"
SLEEP = "sh -c 'echo going; exec sleep 1000'\r"  # says when it has the terminal: keys before that are the shell's


def test_a_shell(every: Client, terminal: Open) -> None:
    shell = terminal(every, "run", "--rm", "-it", IMAGE, "sh", size=(33, 111))
    shell.expect(PROMPT)
    assert shell.modes != shell.first_modes
    shell.type("until stty size | grep '33 111'; do sleep 0.05; done; tty; echo $TERM\r")  # older clients send it late
    shell.expect(r"\n33 111\r\n/dev/pts/0\r\nxterm\r\n")
    shell.type("exit 5\r")
    assert shell.wait() == 5
    assert shell.modes == shell.first_modes


def test_resize(cli: Client, terminal: Open) -> None:
    script = "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"
    shell = terminal(cli, "run", "--rm", "-it", IMAGE, "sh", "-c", script)
    shell.expect("up")
    columns = itertools.count(90)

    def shown() -> bool:
        """docker's client begins to listen for SIGWINCH only after the program runs."""
        new = next(columns)
        shell.resize(44, new)
        return shell.shows(f"44 {new}", 0.5)

    until(shown)


def test_keys_go_to_the_program(cli: Client, terminal: Open) -> None:
    shell = terminal(cli, "run", "--rm", "-it", IMAGE, "sh")
    shell.expect(PROMPT)
    shell.type(SLEEP)
    shell.expect(r"\ngoing\r\n")
    shell.insist("\x03", PROMPT)  # Ctrl-C ends the sleep and not the shell
    shell.type("echo $?\r")
    shell.expect(r"130\r\n")
    shell.type(SLEEP)
    shell.expect(r"\ngoing\r\n")
    shell.insist("\x1a", "Stopped")  # Ctrl-Z
    shell.type("jobs; kill %1; fg; echo done\r")
    shell.expect(r"done\r\n")
    shell.expect(PROMPT)
    shell.type("cat; exit 3\r")
    shell.expect("exit 3\r\n")

    def ended() -> bool:
        shell.type("\x04")  # Ctrl-D, which a shell that is just changing the terminal's modes throws away
        return shell.ended(0.5)

    until(ended)
    assert shell.wait() == 3


def test_ctrl_c_is_the_programs_exit_code(cli: Client, terminal: Open) -> None:
    shell = terminal(cli, "run", "--rm", "-it", "--init", IMAGE, "sh", "-c", "echo up; exec sleep 1000")
    shell.expect("up")
    shell.type("\x03")
    assert shell.wait() == 130


def test_detach_and_come_back(every: Client, terminal: Open) -> None:
    shell = terminal(every, "run", "-it", "--name", "left", IMAGE, "sh")
    shell.expect(PROMPT)
    shell.type("A=kept\r")
    shell.expect(PROMPT)
    shell.type("\x10\x11")
    assert shell.wait() == 0
    assert every.out("inspect", "-f", "{{.State.Running}}", "left") == "true"
    back = terminal(every, "attach", "left")
    back.type("echo $A; exit 4\r")
    back.expect("kept\r\n")
    assert back.wait() == 4


def test_other_detach_keys(cli: Client, terminal: Open) -> None:
    shell = terminal(cli, "run", "-it", "--name", "keys", "--detach-keys", "ctrl-x,d", IMAGE, "sh")
    shell.expect(PROMPT)
    shell.type("echo \x10\x11 hi\r")
    shell.expect("hi\r\n")
    shell.type("\x18d")
    assert shell.wait() == 0
    assert cli.out("inspect", "-f", "{{.State.Running}}", "keys") == "true"


def test_exec_with_a_terminal(every: Client, terminal: Open) -> None:
    every("run", "-d", "--name", "target", IMAGE, "sleep", "1000")
    shell = terminal(every, "exec", "-it", "target", "sh", size=(20, 70))
    shell.expect(PROMPT)
    shell.type("until stty size | grep '20 70'; do sleep 0.05; done; tty; exit 6\r")  # older clients send the size late
    shell.expect(r"20 70\r\n/dev/pts/\d+\r\n")
    assert shell.wait() == 6


def test_exec_resize_and_ctrl_c(cli: Client, terminal: Open) -> None:
    cli("run", "-d", "--name", "target", IMAGE, "sleep", "1000")
    shell = terminal(cli, "exec", "-it", "target", "sh")
    shell.expect(PROMPT)
    shell.type("until stty size | grep '^30 '; do sleep 0.05; done\r")
    columns = itertools.count(60)

    def shown() -> bool:
        """As in `test_resize`."""
        shell.resize(30, next(columns))
        return shell.shows("\r\n30 ", 0.5)

    until(shown)
    shell.expect(r"\r\n30 \d+\r\n")
    shell.type(SLEEP)
    shell.expect(r"\ngoing\r\n")
    shell.insist("\x03", PROMPT)
    shell.type("exit 7\r")
    assert shell.wait() == 7


def test_start_attached_with_a_terminal(cli: Client, terminal: Open) -> None:
    cli("create", "-it", "--name", "later", IMAGE, "sh")
    shell = terminal(cli, "start", "-ai", "later")
    shell.expect(PROMPT)
    shell.type("echo hi; exit 3\r")
    shell.expect("hi\r\n")
    assert shell.wait() == 3


def test_output_of_a_terminal_is_logged_raw(docker: Client) -> None:
    docker("run", "-t", "--name", "tty", IMAGE, "sh", "-c", "echo out; echo err >&2")
    done = docker("logs", "tty")
    assert (done.out, done.err) == ("out\r\nerr\r\n", "")


def test_a_terminal_needs_a_terminal(cli: Client) -> None:
    assert "not a TTY" in cli("run", "--rm", "-it", IMAGE, "sh", input="exit\n", code=None).err
    assert cli.out("ps", "-aq") == ""


def test_lots_of_output_to_a_terminal(cli: Client, terminal: Open) -> None:
    shell = terminal(cli, "run", "--rm", "-it", IMAGE, "sh", "-c", "seq 1 30000; exit 2")
    assert shell.wait() == 2
    assert shell.seen.endswith("30000\r\n") and shell.seen.count("\r\n") == 30000
