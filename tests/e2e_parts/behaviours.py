"""The behaviours of Dockerfiles that are easiest to get wrong, by their number in the list of 84, each as a build.

In a Dockerfile `BASE` is an image with busybox; what its steps print behind "> " is compared. `LIST PATHS` is a step
that prints what lies there, `STAT PATHS` one that prints mode and owner of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FILES: Mapping[str, str] = {"a": "a\n", "b": "b\n", "d/x": "x\n", "d/y.log": "y\n", "d/e/z": "z\n"}


@dataclass(frozen=True)
class Result:
    """`says` are all lines, `error` is a part of what a build that fails ends with, `config` and `history` are parts of
    the image's, `shown` and `unseen` are texts that the client shows, or not."""

    says: tuple[str, ...] = ()
    error: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()
    shown: str = ""
    unseen: str = ""


@dataclass(frozen=True)
class Behaviour:
    """By BuildKit's rules `result`; by the classic builder's `classic`, where that is another one. `newer`: docker
    20.10's client leaves files out that it does not know to be wanted, `corten build` sends them."""

    dockerfile: str
    result: Result
    classic: Result | None = None
    flags: str = ""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    newer: bool = False


def says(*lines: str, **more: Any) -> Result:
    return Result(lines, **more)


def fails(error: str, *lines: str) -> Result:
    return Result(lines, error=error)


def has(**config: Any) -> Result:
    return Result(config=config)


SHELL = ["/bin/sh", "-c"]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USERS = "FROM BASE\nRUN echo 'u1:x:7:8::/:' >> /etc/passwd; echo 'g1:x:9:' >> /etc/group\n"
_OVER = "FROM BASE\nRUN mkdir -p /t/a && touch /t/a/old\n"

SYNTAX: dict[str, Behaviour] = {
    "01 escape": Behaviour('#\tEsCaPe  = `\nFROM BASE\nRUN echo "> 1" && `\n  echo "> \\2"\n', says("1", "\\2")),
    "02 directive behind a comment": Behaviour(
        "# a comment\n# escape=`\nFROM BASE\nRUN echo '> 1' && \\\n echo '> 2'\n", says("1", "2")
    ),
    "02 directive behind a blank line": Behaviour(
        "\n# escape=`\nFROM BASE\nRUN echo '> 1' && \\\n echo '> 2'\n", says("1", "2")
    ),
    "03 directive twice": Behaviour(
        "# escape=`\n# escape=`\nFROM BASE\n", fails("only one escape parser directive can be used")
    ),
    "04 comments within a line": Behaviour(
        "FROM BASE\nRUN echo '> 1' && \\\n# x\n   # y\n echo '> 2'\n", says("1", "2")
    ),
    "05 empty line within a line": Behaviour(
        "FROM BASE\nRUN echo '> 1' && \\\n\n echo '> 2'\n",
        says("1", "2"),
        says("1", "2", shown="[WARNING]: Empty continuation line found in:"),
    ),
    "06 hash in a command": Behaviour("FROM BASE\nRUN echo '> a' # b\n", says("a")),
    "07 backslash and blanks": Behaviour("FROM BASE\nRUN echo '> a\\  \n  b'\n", says("a  b")),
    "07 two backslashes": Behaviour("FROM BASE\nRUN echo '> 1' \\\\\nRUN echo '> 2'\n", says("1 \\", "2")),
    "08 unknown instruction": Behaviour(
        "FROM BASE\nFOO x\n", fails("dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)")
    ),
    "08 no stage": Behaviour("RUN x\n", fails("no build stage in current context")),
    "08 empty": Behaviour("", fails("the Dockerfile cannot be empty")),
    "09 long line": Behaviour("FROM BASE\nRUN " + "x" * 65536, fails("dockerfile line greater than max allowed size")),
    "09 BOM and CR": Behaviour(
        "\ufeffFROM BASE\r\nRUN echo '> 1' && \\\r\n echo '> 2'\r\nCOPY <<E /e\r\nx\r\nE\r\n"
        "RUN od -c /e | sed 's/^/> /'\r\n",
        says("1", "2", "0000000   x  \\r  \\n", "0000003"),
    ),
}

ARGUMENTS: dict[str, Behaviour] = {
    "10 global ARG": Behaviour(
        'ARG T=BASE\nFROM $T\nRUN echo "> .$T."\nARG T\nRUN echo "> .$T."\n', says("..", ".BASE.")
    ),
    "10 global ARG given": Behaviour(
        'ARG T=none\nFROM $T\nARG T\nRUN echo "> $T"\n', says("BASE"), flags="--build-arg T=BASE"
    ),
    "11 ARG of an ARG": Behaviour('ARG A=BASE\nARG B=${A}\nFROM $B\nARG C=1 D=${C}2\nRUN echo "> $D"\n', says("12")),
    "12 ARG of another stage": Behaviour(
        'FROM BASE AS one\nARG X=1\nFROM BASE\nCOPY --from=one /etc/passwd /p\nRUN echo "> .$X."\n', says("..")
    ),
    "13 ARG of the stage below": Behaviour(
        'FROM BASE AS one\nARG X=1\nFROM one\nRUN echo "> .$X."\n', says(".1."), says("..")
    ),
    "14 ENV, then ARG": Behaviour(
        'FROM BASE\nENV V=env\nARG V=arg\nRUN echo "> $V"\n', says("cli"), says("env"), "--build-arg V=cli"
    ),
    "15 ARG, then ENV": Behaviour(
        "FROM BASE\nARG V\nENV V=${V:-d}\n", has(Env={"V": "cli"}), flags="--build-arg V=cli"
    ),
    "16 empty value": Behaviour('FROM BASE\nARG A=d\nRUN echo "> .$A."\n', says(".."), flags="--build-arg A="),
    "17 value of no ARG": Behaviour(
        'FROM BASE\nRUN echo "> .$NOPE."\n',
        says("..", unseen="NOPE]"),
        says("..", shown="[Warning] One or more build-args [NOPE] were not consumed"),
        "--build-arg NOPE=x",
    ),
    "18 proxy": Behaviour(
        'FROM BASE\nRUN echo "> .$HTTP_PROXY.$http_proxy."\n',
        says(".p:1.p:1.", history=('RUN /bin/sh -c echo "> .$HTTP_PROXY.$http_proxy." # buildkit',)),
        says(".p:1..", history=('/bin/sh -c echo "> .$HTTP_PROXY.$http_proxy."',)),
        "--build-arg HTTP_PROXY=p:1",
    ),
    "19 ARG and the image": Behaviour(
        "FROM BASE\nARG A=1\nRUN true\n",
        Result(config={"Env": {"A": None}}, history=("ARG A=1", "RUN |1 A=1 /bin/sh -c true # buildkit")),
        Result(config={"Env": {"A": None}}, history=("/bin/sh -c #(nop)  ARG A=1", "|1 A=1 /bin/sh -c true")),
    ),
    "21 as a shell": Behaviour(
        'FROM BASE\nENV a=v e=\nENV r=${a:-x}${z:-d}${a:+s}.${z:+n}.${a-x}.${e-x}.${e:-y}.${e+s}\nRUN echo "> $r"\n',
        says("vds..v..y.s"),
    ),
    "21 missing": Behaviour("FROM BASE\nENV r=${z:?why}\n", fails("z: why")),
    "22 patterns": Behaviour(
        "FROM BASE\nENV s=foobarbaz\nENV r=${s#*b},${s##*b},${s%b*},${s%%b*},${s/ba/XX},${s//ba/XX},${s#?o}\n"
        'RUN echo "> $r"\n',
        says("arbaz,az,foobar,foo,fooXXrbaz,fooXXrXXz,obarbaz"),
    ),
    "22 nothing in braces": Behaviour("FROM BASE\nENV r=${}\n", fails("bad substitution")),
    "23 special variables": Behaviour('FROM BASE\nENV a=$1x b=$@y c=$\nRUN echo "> $a $b $c"\n', says("x y $")),
    "24 a line sees what was before": Behaviour(
        'FROM BASE\nENV abc=hello\nENV abc=bye def=$abc\nRUN echo "> $abc $def"\n', says("bye hello")
    ),
    "25 the old form": Behaviour(
        'FROM BASE\nENV K a  b   c\nENV Q "x y"\nENV M=a\\ b\n', has(Env={"K": "a  b   c", "Q": "x y", "M": "a b"})
    ),
    "26 quotes": Behaviour(
        'FROM BASE\nENV a=v\nENV b=\'$a\' c="$a" d=\\"q\\"\n', has(Env={"b": "$a", "c": "v", "d": '"q"'})
    ),
    "27 where variables are": Behaviour(
        "FROM BASE\nENV v=x n=9\nADD $d/a /$v/\nCOPY $d/b /$v/\nEXPOSE $n\nLABEL l=$v\nSTOPSIGNAL $n\nUSER $n\n"
        'VOLUME /$v-vol\nWORKDIR /$v\nCMD echo $v\nENTRYPOINT ["$v"]\n'
        'HEALTHCHECK CMD $v\nRUN ls /x | sed \'s/^/> /\'; echo "> $(pwd) $(id -u)"\nSHELL ["$v"]\n',
        says(
            *("a", "b", "/x 9"),
            config={
                "Labels": {"l": "x"},
                "ExposedPorts": {"9/tcp": {}},
                "StopSignal": "9",
                "User": "9",
                "Volumes": {"/x-vol": {}},
                "WorkingDir": "/x",
                "Cmd": [*SHELL, "echo $v"],
                "Entrypoint": ["$v"],
                "Healthcheck": {"Test": ["CMD-SHELL", "$v"]},
                "Shell": ["$v"],
            },
        ),
    ),
    "27 not in --from": Behaviour(
        "FROM BASE AS one\nFROM BASE\nENV S=one\nCOPY --from=$S /etc/passwd /\n",
        fails("variable expansion is not supported for --from"),
    ),
}

COMMANDS: dict[str, Behaviour] = {
    "28 no JSON": Behaviour("FROM BASE\nCMD [ 'a' ]\n", has(Cmd=[*SHELL, "[ 'a' ]"])),
    "28 a number": Behaviour('FROM BASE\nCMD ["a", 1]\n', fails("arrays must be comprised of strings only")),
    "29 CMD, then ENTRYPOINT": Behaviour('FROM BASE\nCMD ["c"]\nENTRYPOINT ["e"]\n', has(Cmd=["c"], Entrypoint=["e"])),
    "29 inherited CMD": Behaviour(
        'FROM BASE AS one\nCMD ["c"]\nFROM one\nENTRYPOINT ["e"]\n',
        has(Cmd=None, Entrypoint=["e"]),
        has(Cmd=["c"], Entrypoint=["e"]),
    ),
    "30 SHELL": Behaviour(
        'FROM BASE\nSHELL ["/bin/sh", "-e", "-c"]\nRUN echo "> $-"\nCMD x\n',
        says("ce", config={"Shell": ["/bin/sh", "-e", "-c"], "Cmd": ["/bin/sh", "-e", "-c", "x"]}),
    ),
    "53 WORKDIR": Behaviour(
        "FROM BASE\nWORKDIR rel\nWORKDIR /a\nWORKDIR b\nENV Q=/q\nWORKDIR $Q/c/../d\n"
        "RUN ls -d /rel /a/b /q/d | sed 's/^/> /'\n",
        says("/a/b", "/q/d", "/rel", config={"WorkingDir": "/q/d"}),
    ),
    "54 owner of WORKDIR": Behaviour(
        "FROM BASE\nUSER 7\nWORKDIR /w/x\nSTAT /w /w/x\n",
        says("/w 755 7:7", "/w/x 755 7:7"),
        says("/w 755 0:0", "/w/x 755 0:0"),
    ),
    "55 VOLUME": Behaviour(
        "FROM BASE\nVOLUME /v\nRUN mkdir -p /v && touch /v/run\nCOPY a /v/\nLIST /v\n",
        says("/v", "/v/a", "/v/run"),
        says("/v", "/v/a"),
    ),
    "56 empty VOLUME": Behaviour('FROM BASE\nVOLUME [""]\n', fails("VOLUME specified can not be an empty string")),
    "57 USER": Behaviour(
        "FROM BASE\nUSER nosuch\nRUN true\n", fails("unable to find user nosuch: no matching entries in passwd file")
    ),
    "57 USER that no step needs": Behaviour("FROM BASE\nUSER nosuch\n", has(User="nosuch")),
    "58 HEALTHCHECK NONE": Behaviour("FROM BASE\nHEALTHCHECK NONE\n", has(Healthcheck={"Test": ["NONE"]})),
    "58 HEALTHCHECK exec": Behaviour(
        'FROM BASE\nHEALTHCHECK --interval=5s --start-interval=2s --retries=2 CMD ["x"]\n',
        has(Healthcheck={"Test": ["CMD", "x"], "Interval": 5 * 10**9, "StartInterval": 2 * 10**9, "Retries": 2}),
    ),
    "58 HEALTHCHECK shell": Behaviour(
        "FROM BASE\nHEALTHCHECK CMD a b\n", has(Healthcheck={"Test": ["CMD-SHELL", "a b"]})
    ),
    "58 short interval": Behaviour("FROM BASE\nHEALTHCHECK --interval=1us CMD x\n", fails("cannot be less than 1ms")),
    "59 STOPSIGNAL": Behaviour("FROM BASE\nENV S=9\nSTOPSIGNAL $S\n", has(StopSignal="9")),
    "59 no signal": Behaviour("FROM BASE\nSTOPSIGNAL FOO\n", fails("invalid signal: FOO")),
    "60 LABEL": Behaviour(
        "FROM BASE\nENV v=1\nLABEL a=file c='x $v' d=\"$v\"\nLABEL h i j\n",
        has(Labels={"a": "cli", "c": "x $v", "d": "1", "h": "i j"}),
        flags="--label a=cli",
    ),
    "61 EXPOSE": Behaviour(
        "FROM BASE\nENV P=7\nEXPOSE 100-102 $P/tcp 80/TCP 8080:81\n",
        has(ExposedPorts={f"{port}/tcp": {} for port in (7, 80, 81, 100, 101, 102)}),
    ),
    "83 history": Behaviour(
        'FROM BASE\nRUN true\nCMD ["x"]\n',
        Result(history=("RUN /bin/sh -c true # buildkit", 'CMD ["x"]')),
        Result(history=("/bin/sh -c true", '/bin/sh -c #(nop)  CMD ["x"]')),
    ),
}

COPIES: dict[str, Behaviour] = {
    "31 a directory": Behaviour(
        "FROM BASE\nCOPY d /t\nCOPY d /u/\nLIST /t /u\n",
        says(*(f"/{top}{name}" for top in "tu" for name in ("", "/e", "/e/z", "/x", "/y.log"))),
    ),
    "32 a file": Behaviour(
        "FROM BASE\nRUN mkdir /u\nCOPY a /t\nCOPY a /u\nRUN cat /t | sed 's/^/> /'\nLIST /u\n", says("a", "/u", "/u/a")
    ),
    "33 several files": Behaviour(
        "FROM BASE\nCOPY a b /t\nLIST /t\n", says("/t", "/t/a", "/t/b"), fails("must be a directory and end with a /")
    ),
    "33 several hits": Behaviour(
        "FROM BASE\nCOPY [ab] /t\nLIST /t\n", says("/t", "/t/a", "/t/b"), fails("must be a directory and end with a /")
    ),
    "34 no hit": Behaviour(
        "FROM BASE\nCOPY zz* /t/\nRUN ls /t || echo '> none'\n", says("none"), fails("no source files were specified")
    ),
    "35 directories by a pattern": Behaviour(
        "FROM BASE\nCOPY d* /t/\nLIST /t\n",
        says("/t", "/t/e", "/t/e/z", "/t/two", "/t/x", "/t/y.log"),
        files={"d2/two": "2\n"},
    ),
    "36 two stars": Behaviour(
        "FROM BASE\nCOPY **/*.txt /t/\nLIST /t\n",
        says("/t", "/t/b.txt"),
        files={"t.txt": "", "n/b.txt": "", "n/m/c.txt": ""},
    ),
    "36 --parents": Behaviour(
        "FROM BASE\nCOPY --parents **/*.txt y/./z/b /t/\nRUN find /t -type f | sort | sed 's/^/> /'\n",
        says("/t/n/b.txt", "/t/n/m/c.txt", "/t/t.txt", "/t/z/b"),
        newer=True,
        files={"t.txt": "", "n/b.txt": "", "n/m/c.txt": "", "y/z/b": ""},
    ),
    "37 brackets and blanks": Behaviour(
        'FROM BASE\nCOPY arr[[]0].txt /t/\nCOPY ["with blank", "/t/"]\nLIST /t\n',
        says("/t", "/t/arr[0].txt", "/t/with blank"),
        files={"arr[0].txt": "", "arr0.txt": "", "with blank": ""},
    ),
    "38 missing": Behaviour(
        "FROM BASE\nCOPY nope /\n",
        fails("failed to compute cache key: failed to calculate checksum of ref"),
        fails(
            "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist"
        ),
    ),
    "39 above the context": Behaviour(
        "FROM BASE\nCOPY ../a /b /t/\nCOPY a ../../../q/z\nLIST /t /q\n",
        says("/q", "/q/z", "/t", "/t/a", "/t/b"),
        fails("forbidden path outside the build context: ../a"),
    ),
    "40 links": Behaviour(
        "FROM BASE\nCOPY named /t/\nCOPY links /l/\nRUN stat -c '> %N %F' /t/named /l/in | sed \"s/'//g\"\n",
        says("/t/named regular file", "/l/in -> ../a symbolic link"),
        files={"named@": "a", "links/in@": "../a"},
    ),
    "41 a link in the target": Behaviour(
        "FROM BASE\nRUN mkdir /real && ln -s real /link\nCOPY a /link/\n"
        "RUN ls /real | sed 's/^/> /'; readlink /link | sed 's/^/> /'\n",
        says("a", "real"),
    ),
    "41 a link in the target and --link": Behaviour(
        "FROM BASE\nRUN mkdir /real && ln -s real /link\nCOPY --link a /link/\n"
        "RUN ls /real /link | sed 's/^/> /'; test -L /link || echo '> replaced'\n",
        says("/link:", "a", "", "/real:", "replaced"),
    ),
    "42 a file over a directory": Behaviour(
        _OVER + "COPY d2 /t\nSTAT /t/a\n",
        fails("cannot replace to directory"),
        says("/t/a 644 0:0"),
        files={"d2/a": ""},
    ),
    "43 --chown": Behaviour(
        USERS + "COPY --chown=u1:g1 a /1\nCOPY --chown=5 a /2\nCOPY --chown=5:6 a /3\nCOPY --chown=:g1 a /4\n"
        "STAT /1 /2 /3 /4\n",
        says("/1 644 7:9", "/2 644 5:5", "/3 644 5:6", "/4 644 0:9"),
    ),
    "43 --chown of a user's name": Behaviour(
        USERS + "COPY --chown=u1 a /1\nSTAT /1\n", says("/1 644 7:8"), fails("u1")
    ),
    "44 --chown of unknown names": Behaviour(
        "FROM BASE\nCOPY --chown=unknown:x a /1\n", fails("unknown"), fails("unknown")
    ),
    "45 parents that are made": Behaviour(
        "FROM BASE\nUSER 5\nCOPY --chown=3:4 a /p/q/a\nCOPY b /r/b\nSTAT /p /p/q /p/q/a /r /r/b\n",
        says("/p 755 3:4", "/p/q 755 3:4", "/p/q/a 644 3:4", "/r 755 0:0", "/r/b 644 0:0"),
    ),
    "46 --chmod": Behaviour(
        "FROM BASE\nCOPY --chmod=741 d /t\nSTAT /t /t/e /t/e/z /t/x\n",
        says("/t 741 0:0", "/t/e 741 0:0", "/t/e/z 741 0:0", "/t/x 741 0:0"),
    ),
    "46 --chmod with letters": Behaviour(
        "FROM BASE\nCOPY --chmod=a+x,go-r d /t\nSTAT /t /t/e /t/x\n", says("/t 755 0:0", "/t/e 711 0:0", "/t/x 711 0:0")
    ),
    "47 setuid and times": Behaviour(
        "FROM BASE\nCOPY suid /s\nRUN stat -c '> %a %y' /s\n",
        says("4751 2001-02-03 04:05:06.123456789 +0000"),
        files={"suid*": ""},
    ),
    "48 --from by index and name": Behaviour(
        "FROM BASE AS Foo\nRUN echo 1 > /1\nFROM BASE\nCOPY --from=0 /1 /n\nCOPY --from=fOO /1 /m\nLIST /m /n\n",
        says("/m", "/n"),
    ),
    "49 own stage": Behaviour(
        "FROM BASE AS one\nCOPY --from=one /etc /t\n", fails("circular dependency detected on stage: one")
    ),
    "49 a later stage": Behaviour(
        "FROM BASE AS one\nCOPY --from=two /2 /t\nFROM BASE AS two\nRUN echo '> two' > /2\nFROM one\nRUN cat /t\n",
        says("two"),
    ),
    "50 --exclude": Behaviour(
        "FROM BASE\nCOPY --exclude=*.md --exclude=s . /t/\nCOPY --exclude=**/*.md k /u/\n"
        "RUN find /t/k /t/r.md /t/s /u | sort | sed 's/^/> /'; true\n",
        says("/t/k", "/t/k/e.md", "/u"),
        files={"k/e.md": "", "r.md": "", "s/in": ""},
    ),
    "63 name": Behaviour("FROM BASE AS 1x\n", fails('invalid name for build stage: "1x"')),
    "63 two of one name": Behaviour(
        "FROM BASE AS one\nRUN echo 1 > /f\nFROM BASE AS one\nRUN echo '> 2' > /f\n"
        "FROM BASE\nCOPY --from=one /f /\nRUN cat /f\n",
        says("2"),
        fails("one"),
    ),
    "82 attributes and the target": Behaviour(
        "FROM BASE\nCOPY --chown=1:2 a /t/a\nCOPY --chmod=600 a /t/b\nSTAT /t/a /t/b\n",
        says("/t/a 644 1:2", "/t/b 600 0:0"),
    ),
}

STAGES: dict[str, Behaviour] = {
    "62 ONBUILD": Behaviour(
        "FROM BASE AS one\nONBUILD RUN echo '> trigger'\nFROM one\nRUN echo '> after'\n",
        says("trigger", "after", config={"OnBuild": None}),
    ),
    "62 ONBUILD of ONBUILD": Behaviour(
        "FROM BASE\nONBUILD ONBUILD RUN x\n", fails("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    ),
    "62 ONBUILD of FROM": Behaviour("FROM BASE\nONBUILD FROM x\n", fails("FROM isn't allowed as an ONBUILD trigger")),
    "62 what is unchecked": Behaviour("FROM BASE\nONBUILD COPY --from=zz / /\n", has(OnBuild=["COPY --from=zz / /"])),
    "64 FROM scratch": Behaviour(
        "FROM scratch\n", has(Env=[PATH], Cmd=None, WorkingDir="/"), fails("No image was generated")
    ),
    "65 --target": Behaviour(
        "FROM BASE AS Aa\nRUN echo '> 1'\nFROM BASE\nRUN exit 1\n", says("1"), flags="--target aA"
    ),
    "65 --target by number": Behaviour(
        "FROM BASE AS a\nFROM BASE\n", fails('target stage "0" could not be found'), flags="--target 0"
    ),
    "65 --target that is none": Behaviour(
        "FROM BASE AS a\nFROM BASE\n", fails('target stage "zz" could not be found'), flags="--target zz"
    ),
    "66 an unneeded stage": Behaviour(
        "FROM BASE AS one\nRUN exit 3\nFROM BASE\nRUN echo '> 2'\n", says("2"), fails("returned a non-zero code: 3")
    ),
    "66 an unneeded image": Behaviour(
        "FROM localhost:1/nosuch AS one\nFROM BASE\nRUN echo '> 2'\n", says("2"), fails("localhost:1")
    ),
    "77 platforms": Behaviour(
        'FROM --platform=$BUILDPLATFORM BASE\nRUN echo "> .$TARGETOS."\nARG TARGETOS\nARG TARGETPLATFORM\n'
        'RUN echo "> $TARGETOS ${TARGETPLATFORM%%/*}"\n',
        says("..", "linux linux"),
        fails("platform"),
    ),
    "78 syntax that cannot be had": Behaviour(
        "# syntax=localhost:1/nosuch\nFROM BASE\nRUN echo '> 1'\n", fails("localhost:1/nosuch"), says("1")
    ),
    "79 .dockerignore": Behaviour(
        "FROM BASE\nCOPY . /t/\nRUN cd /t && find . -type f | sort | sed 's/^/> /'\n",
        says("./d/x", "./keep/yes", "./sub/p/q.txt"),
        newer=True,
        files={
            ".dockerignore": "*\n!keep\n!d/x\nkeep/no\n!sub/**/*.txt\n**/*.log\n",
            **dict.fromkeys(("keep/yes", "keep/no", "keep/x.log", "sub/p/q.txt", "sub/p/r", "d/x", "top"), ""),
        },
    ),
    "80 .dockerignore anchored": Behaviour(
        "FROM BASE\nCOPY . /t/\nRUN cd /t && find . -type f | sort | sed 's/^/> /'\n",
        says("./sub/a", "./sub/e", "./z"),
        files={
            ".dockerignore": "/a\nb/\n./c\nd/../e\n x \nd\n.dockerignore\nDockerfile\n",
            **dict.fromkeys(("sub/a", "sub/e", "z", "c", "e", "x"), ""),
        },
    ),
    "80 .dockerignore of everything": Behaviour(
        "FROM BASE\nCOPY . /t/\nLIST /t\n", says("/t"), files={".dockerignore": "**\n"}
    ),
    "81 Dockerfile.dockerignore": Behaviour(
        "FROM BASE\nCOPY a* b* /t/\nLIST /t\n",
        says("/t", "/t/b"),
        says("/t", "/t/a"),
        files={"Dockerfile.dockerignore": "a\n", ".dockerignore": "b\n"},
    ),
    "84 a check that is an error": Behaviour(
        "# check=error=true\nfrom BASE as one\nRUN echo '> 1'\n",
        fails("lint violation found for rules: "),
        says("1"),
    ),
    "84 a step that fails": Behaviour("FROM BASE\nRUN exit 7\n", fails("exit code: 7"), fails("code: 7")),
}

STEPS: dict[str, Behaviour] = {
    "67 a heredoc": Behaviour(
        'FROM BASE\nENV v=env\nRUN <<EOF\nv=sh\necho "> $v"\nEOF\nRUN <<"EOF"\necho \'> \'$v\nEOF\n', says("sh", "env")
    ),
    "67 its interpreter": Behaviour(
        'FROM BASE\nRUN <<EOF\n#!/bin/sh -u\necho "> $0 $(stat -c %a $0)"\nEOF\n', says("/dev/pipes/EOF 755")
    ),
    "67 several": Behaviour(
        "FROM BASE\nRUN cat <<E1 - <<-\"E2\" | sed 's/^/> /'\nnot read\nE1\n\t$two\n\tE2\n", says("$two")
    ),
    "68 files": Behaviour(
        'FROM BASE\nENV v=1\nCOPY <<a.txt <<"b.txt" /t/\n$v\na.txt\n$v\nb.txt\n'
        "STAT /t/a.txt /t/b.txt\nRUN cat /t/a.txt /t/b.txt | sed 's/^/> /'\n",
        says("/t/a.txt 644 0:0", "/t/b.txt 644 0:0", "1", "$v"),
    ),
    "69 a cache": Behaviour(
        "FROM BASE\nRUN --mount=type=cache,id=i69,target=/c,uid=5,mode=0700 stat -c '> %a %u' /c; touch /c/f\n"
        "RUN --mount=type=cache,id=i69,target=/other ls /other | sed 's/^/> /'\nRUN test -e /c || echo '> gone'\n",
        says("700 5", "f", "gone"),
    ),
    "70 a bind": Behaviour(
        "FROM BASE\nRUN --mount=target=/m touch /m/new || cat /m/a | sed 's/^/> /'\n"
        "RUN --mount=target=/m,rw touch /m/new && ls /m/new | sed 's/^/> /'\n"
        "RUN --mount=source=a,target=/f cat /f | sed 's/^/> /'\nRUN ls -d /m /f || echo '> gone'\n",
        says("a", "/m/new", "a", "gone"),
    ),
    "71 a tmpfs": Behaviour(
        "FROM BASE\nRUN --mount=type=tmpfs,target=/m,size=1048576 df -k /m | awk 'END {print \"> \" $2}'\n",
        says("1024"),
    ),
    "71 over everything": Behaviour(
        "FROM BASE\nRUN --mount=type=tmpfs,target=/ true\n", fails('invalid mount target "/"')
    ),
    "74 no network": Behaviour("FROM BASE\nRUN --network=none ls /sys/class/net | sed 's/^/> /'\n", says("lo")),
    "74 insecure": Behaviour("FROM BASE\nRUN --security=insecure true\n", fails("security.insecure is not allowed")),
    "75 names": Behaviour(
        'FROM BASE\nRUN echo "> $(hostname)"; '
        "grep more /etc/hosts | sed 's/\\t/ /; s/^/> /'; echo '1.1.1.1 x' >> /etc/hosts\n"
        "RUN grep -c 1.1.1.1 /etc/hosts | sed 's/^/> /'\n",
        says("buildkitsandbox", "9.9.9.9 more", "0"),
        flags="--add-host more:9.9.9.9",
    ),
    "76 environment": Behaviour(
        "FROM BASE\nENV E=1\nARG A=2\nRUN env | cut -d= -f1 | sort | tr '\\n' ' ' | sed 's/^/> /'; echo; "
        "grep -E 'CapEff|Seccomp:' /proc/self/status | sed 's/\\t/ /; s/^/> /'\n",
        says("A E HOME PATH PWD SHLVL ", "CapEff: 00000000a80425fb", "Seccomp: 2"),
    ),
}

ALL: dict[str, Behaviour] = {**SYNTAX, **ARGUMENTS, **COMMANDS, **COPIES, **STAGES, **STEPS}
