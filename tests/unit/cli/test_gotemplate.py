"""Expected texts are what Go's text/template in the docker client made of the same templates."""

from __future__ import annotations

from typing import Any

import pytest

from corten.cli.errors import CommandError
from corten.cli.formats.typed import typed
from corten.cli.gotemplate import documents
from corten.cli.gotemplate.errors import ExecError, ParseError

DATA: dict[str, Any] = {
    "ID": "8f7814026edb",
    "Names": "y2",
    "State": "exited",
    "Ports": "",
    "N": 3,
    "On": True,
    "List": ["a", "b", "c"],
    "Empty": [],
    "Map": {"z": 1, "a": {"deep": "x"}},
    "Null": None,
}


def render(source: str, data: Any = None, strict: bool = False) -> str:
    return documents.compile_(source, strict).execute(DATA if data is None else data)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{.ID}}: {{.Names}}", "8f7814026edb: y2"),
        ("{{.Map.a.deep}} {{.Map.nope}}", "x <no value>"),
        ("a {{- .N -}}  b", "a3b"),
        ("x {{/* c */}}{{- /* d */ -}} y", "x y"),
        ("{{if .Ports}}p{{else}}none{{end}}", "none"),
        ("{{if and (eq .State `exited`) (ne .ID ``)}}E{{else if .N}}R{{else}}?{{end}}", "E"),
        ("{{if eq .State `x`}}E{{else if .N}}R{{else}}?{{end}}", "R"),
        ("{{with .Ports}}{{.}}{{else}}no{{end}}", "no"),
        ("{{with .Ports}}a{{else with .Names}}b{{.}}{{end}}", "by2"),
        ("{{with $x := .Map.a}}{{$x.deep}}{{.deep}}{{$.N}}{{end}}", "xx3"),
        ("{{range .List}}<{{.}}>{{end}}", "<a><b><c>"),
        ("{{range $i, $e := .List}}{{if $i}},{{end}}{{$e}}{{end}}", "a,b,c"),
        ("{{range $k, $v := .Map}}{{$k}};{{end}}", "a;z;"),
        ("{{range .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{range .List}}{{if eq . `b`}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
        ("{{range .List}}{{if eq . `b`}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c"),
        ("{{define `a`}}<{{.}}>{{end}}{{template `a` .Names}}", "<y2>"),
        ("{{block `b` .}}{{.N}}{{end}}", "3"),
        ("{{.List}} {{.Map}} {{.Null}} {{.On}}", "[a b c] map[a:map[deep:x] z:1] <nil> true"),
        ("{{len .List}} {{index .List 1}} {{index .Map `z`}} {{index .Map `a` `deep`}}", "3 b 1 x"),
        ("{{slice .ID 0 3}} {{slice .List 1}}", "8f7 [b c]"),
        ("{{.ID | printf `%s-%s` `x`}} {{`a` | upper | printf `%q`}}", 'x-8f7814026edb "A"'),
        ("{{printf `%-10s|%5s|%q|%v` .Names .State .ID .N}}", 'y2        |exited|"8f7814026edb"|3'),
        (
            "{{printf `%05d|%x|%X|%o|%b|%c|%+d|% d|%U` 42 42 42 42 42 65 42 42 42}}",
            "00042|2a|2A|52|101010|A|+42| 42|U+002A",
        ),
        ("{{printf `%.2f|%8.3f|%g|%e` 3.14159 2.5 1e21 12345.678}}", "3.14|   2.500|1e+21|1.234568e+04"),
        ("{{printf `%s %d` `a`}} {{printf `%d` 1 2}} {{printf `%s` 5}}", "a %!d(MISSING) 1%!(EXTRA int=2) %!s(int=5)"),
        ("{{printf `%T %T %T` 1 `a` 1.5}} {{printf `%6.2f%%` 99.5}}", "int string float64  99.50%"),
        ("{{printf `%*d|%-*s|` 5 42 6 `ab`}} {{printf `%[2]s %[1]s` `a` `b`}}", "   42|ab    | b a"),
        ("{{printf `%`}} {{printf `%z` 1}} {{printf `%x` `hello`}}", "%!(NOVERB) %!z(int=1) 68656c6c6f"),
        ("{{print 1 2 `a` `b` 3 4}} {{println `x` 1}}", "1 2ab3 4 x 1\n"),
        (
            "{{html `<a&'>`}} {{urlquery `a b/c?`}} {{js `it's <b>`}}",
            "&lt;a&amp;&#39;&gt; a+b%2Fc%3F it\\'s \\u003Cb\\u003E",
        ),
        (
            "{{title `hello world`}} {{lower `AB`}} {{pad `x` 2 3}}| {{truncate `abcdef` 3}}",
            "Hello World ab   x   | abc",
        ),
        ("{{join (split `a,b` `,`) `-`}} {{json .List}} {{json .Map}}", 'a-b ["a","b","c"] {"a":{"deep":"x"},"z":1}'),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt `b` `a`}} {{ge 1.5 2.5}} {{eq 1 2 3 1}} {{not .On}}",
            "true true true false true false",
        ),
        ("{{or `` `x`}} {{and `a` ``}}|{{or .On .Nope.Deep}}", "x |true"),
        ("{{'a'}} {{0x10}} {{1e3}} {{-5}} {{`raw\\n`}} {{\"t\\tq\"}}", "97 16 1000 -5 raw\\n t\tq"),
        ("{{1234567.0}} {{123456.0}} {{0.1}} {{0.00001}} {{1e21}}", "1.234567e+06 123456 0.1 1e-05 1e+21"),
        ("{{(index .List 0)}} {{(.Map).z}}", "a 1"),
        ("{{.ID", None),
    ],
)
def test_templates_give_what_go_gives(source: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(ParseError):
            render(source)
    else:
        assert render(source) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.ID", "template: :1: unclosed action"),
        ("{{foo}}", 'template: :1: function "foo" not defined'),
        ("{{if .ID}}", "template: :1: unexpected EOF"),
        ("a\n{{end}}", "template: :2: unexpected {{end}}"),
        ('{{"x', "template: :1: unterminated quoted string"),
        ("{{1 | 2}}", "template: :1: non executable command in pipeline stage 2"),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
        ("{{}}", "template: :1: missing value for command"),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{(1}}", "template: :1: unclosed left paren"),
    ],
)
def test_what_cannot_be_parsed_is_reported_in_gos_words(source: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        render(source)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.ID.X}}", ':1:5: executing "" at <.ID.X>: can\'t evaluate field X in type string'),
        ('{{template "x"}}', ':1:11: executing "" at <{{template "x"}}>: template "x" not defined'),
        ("{{eq .ID 1}}", ':1:2: executing "" at <eq .ID 1>: error calling eq: incompatible types for comparison'),
        ("{{len 3}}", ':1:2: executing "" at <len 3>: error calling len: len of type int'),
        ("{{index .List 5}}", ':1:2: executing "" at <index .List 5>: error calling index: index out of range: 5'),
        ("{{index .Null 0}}", ':1:2: executing "" at <index .Null 0>: error calling index: index of untyped nil'),
        ("{{upper}}", ':1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0'),
        ("x\n  {{.Null.A}}", ':2:9: executing "" at <.Null.A>: nil pointer evaluating interface {}.A'),
        ("{{range .On}}{{end}}", ':1:8: executing "" at <.On>: range can\'t iterate over true'),
    ],
)
def test_what_fails_is_reported_in_gos_words(source: str, message: str) -> None:
    with pytest.raises(ExecError) as caught:
        render(source)
    assert str(caught.value) == f"template: {message}"


def test_strict_maps_refuse_a_missing_key() -> None:
    with pytest.raises(ExecError, match=r'at <.Nope>: map has no entry for key "Nope"'):
        render("{{.Nope}}", strict=True)


def test_templates_that_call_themselves_end() -> None:
    with pytest.raises(ExecError, match=r"exceeded maximum template depth"):
        render("{{define `a`}}{{template `a`}}{{end}}{{template `a`}}")


def test_an_inspected_container_has_the_zeros_of_its_type() -> None:
    box = typed(
        "container",
        {"State": {"Running": True}, "Config": {"Cmd": None, "Labels": None}, "HostConfig": {"Binds": None}},
    )
    source = "{{.State.Running}} {{.State.Health}} {{.Config.Cmd}} {{.Config.Labels}} {{.HostConfig.Init}}"
    assert render(source, box) == "true <nil> [] map[] <nil>"
    expected = '{"State":{"Running":true},"Config":{"Cmd":null,"Labels":null},"HostConfig":{"Binds":null}}'
    assert render("{{json .}}", box) == expected
    with pytest.raises(ExecError, match=r"no entry"):
        render("{{.State.Nope}}", box)


def test_json_stands_for_the_whole_document() -> None:
    assert documents.one("json", {"a": [1, None, "<"]}) == '{"a":[1,null,"<"]}'
    with pytest.raises(CommandError) as caught:
        documents.one("{{", {})
    assert caught.value.code == 64
