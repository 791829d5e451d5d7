"""Tokens to trees: one for the template and one for each {{define}} or {{block}} in it."""

from __future__ import annotations

from corten.cli.gotemplate import lexer, nodes
from corten.cli.gotemplate.errors import ParseError
from corten.cli.gotemplate.literals import number, rune, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container


def parse(source: str, functions: Container[str], name: str = "") -> dict[str, list[nodes.Node]]:
    """Trees by name; the template's own is under `name`. Raises ParseError in Go's words."""
    parser = _Parser(source, functions, name)
    body, end = parser.block(())
    if end:
        raise parser.error(f"unexpected {{{{{end}}}}}")
    return {**parser.defined, name: body}


class _Parser:
    def __init__(self, source: str, functions: Container[str], name: str) -> None:
        self._source = source
        self._name = name
        self._functions = functions
        self._tokens = lexer.tokens(source, name)
        self._next = 0
        self._variables = ["$"]
        self._ranges = 0
        self.defined: dict[str, list[nodes.Node]] = {}

    # ------------------------------------------------------------------ tokens

    def _peek(self) -> lexer.Token:
        return self._tokens[self._next]

    def _take(self) -> lexer.Token:
        token = self._tokens[self._next]
        if token.kind != lexer.END:
            self._next += 1
        return token

    def _skip_space(self) -> lexer.Token:
        while self._peek().kind == lexer.SPACE:
            self._next += 1
        return self._peek()

    def error(self, message: str) -> ParseError:
        at = self._tokens[max(0, min(self._next, len(self._tokens) - 1))].at
        return ParseError(f"template: {self._name}:{lexer.line_of(self._source, at)}: {message}")

    def _expect(self, kind: str, context: str) -> lexer.Token:
        token = self._skip_space()
        if token.kind != kind:
            raise self._unexpected(token, context)
        return self._take()

    def _unexpected(self, token: lexer.Token, context: str) -> ParseError:
        if token.kind == lexer.END:
            return self.error("unexpected EOF")
        shown = f"<{token.text}>" if token.kind == lexer.KEYWORD else f'"{token.text}"'
        return self.error(f"unexpected {shown} in {context}")

    # ------------------------------------------------------------------ blocks

    def block(self, ends: tuple[str, ...]) -> tuple[list[nodes.Node], str]:
        """Nodes up to one of the keywords in `ends`, or to the end of the text when there are none."""
        found: list[nodes.Node] = []
        while True:
            token = self._take()
            if token.kind == lexer.END:
                if ends:
                    raise self.error("unexpected EOF")
                return found, ""
            if token.kind == lexer.TEXT:
                found.append(nodes.Text(token.at, token.text))
                continue
            head = self._skip_space()
            if head.kind == lexer.KEYWORD and head.text in ("end", "else"):
                self._take()
                if head.text not in ends:
                    raise self.error(f"unexpected {{{{{head.text}}}}}")
                if head.text == "end":
                    self._expect(lexer.RIGHT, "end")
                return found, head.text
            node = self._action(head)
            if node is not None:
                found.append(node)

    def _action(self, head: lexer.Token) -> nodes.Node | None:
        if head.kind != lexer.KEYWORD:
            return nodes.Action(head.at, self._pipeline("command", lexer.RIGHT))
        self._take()
        if head.text in ("if", "with", "range"):
            return self._branch(head)
        if head.text == "template":
            return self._template(head.text)
        if head.text == "define":
            self._define()
            return None
        if head.text == "block":
            return self._inline_block()
        if not self._ranges:
            raise self.error(f"{{{{{head.text}}}}} outside {{{{range}}}}")
        self._expect(lexer.RIGHT, f"{{{{{head.text}}}}}")
        return nodes.Jump(head.at, head.text)

    def _branch(self, head: lexer.Token) -> nodes.Branch:
        scope = len(self._variables)
        pipe = self._pipeline(head.text, lexer.RIGHT)
        self._ranges += head.text == "range"
        body, end = self.block(("end", "else"))
        self._ranges -= head.text == "range"
        otherwise: list[nodes.Node] = []
        if end == "else":
            following = self._skip_space()
            if following.kind == lexer.KEYWORD and following.text == head.text and head.text in ("if", "with"):
                # {{else if}} is an {{if}} within the {{else}}, and shares its {{end}}.
                self._take()
                otherwise = [self._branch(following)]
            else:
                self._expect(lexer.RIGHT, "else")
                otherwise, _ = self.block(("end",))
        del self._variables[scope:]
        return nodes.Branch(head.at, head.text, pipe, body, otherwise)

    def _template(self, context: str) -> nodes.Template:
        token = self._expect(lexer.STRING, f"{context} clause")
        name = unquote(token.text)
        pipe = None
        if self._skip_space().kind != lexer.RIGHT:
            pipe = self._pipeline(f"{context} clause", lexer.RIGHT)
        else:
            self._take()
        return nodes.Template(token.at, name, pipe)

    def _define(self) -> None:
        name = unquote(self._expect(lexer.STRING, "define clause").text)
        self._expect(lexer.RIGHT, "define clause")
        self.defined[name] = self._separate_body()

    def _inline_block(self) -> nodes.Template:
        """{{block "n" pipe}}...{{end}} defines a template and uses it."""
        node = self._template("block")
        self.defined[node.name] = self._separate_body()
        return node

    def _separate_body(self) -> list[nodes.Node]:
        """A body that sees none of the variables around it."""
        saved, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, _ = self.block(("end",))
        self._variables, self._ranges = saved, ranges
        return body

    # ------------------------------------------------------------------ pipelines

    def _pipeline(self, context: str, end: str) -> nodes.Pipe:
        at = self._skip_space().at
        variables, assign = self._declarations(context)
        commands = []
        while True:
            token = self._skip_space()
            if token.kind == end:
                self._take()
                break
            if token.kind in (lexer.RIGHT, lexer.CLOSE, lexer.END):
                raise self._unexpected(token, context)
            commands.append(self._command())
            if self._skip_space().kind == lexer.PIPE:
                self._take()
        if not commands:
            raise self.error(f"missing value for {context}")
        for index, command in enumerate(commands[1:], 2):
            if isinstance(command.args[0], nodes.Constant | nodes.Dot | nodes.Nil):
                raise self.error(f"non executable command in pipeline stage {index}")
        if not assign:
            self._variables += variables
        return nodes.Pipe(at, variables, assign, commands)

    def _declarations(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =`, or in a range `$i, $x :=`; nothing when the pipeline merely starts with a variable."""
        start = self._next
        names = []
        while self._skip_space().kind == lexer.VARIABLE:
            names.append(self._take().text)
            token = self._skip_space()
            if token.kind in (lexer.DECLARE, lexer.ASSIGN):
                self._take()
                assign = token.kind == lexer.ASSIGN
                if len(names) > (2 if context == "range" else 1):
                    raise self.error(f"too many declarations in {context}")
                for name in names if assign else ():
                    self._check_variable(name)
                return names, assign
            if token.kind != lexer.COMMA:
                break
            self._take()
        self._next = start
        return [], False

    def _command(self) -> nodes.Command:
        at = self._peek().at
        args: list[nodes.Node] = []
        while True:
            token = self._skip_space()
            if token.kind in (lexer.PIPE, lexer.RIGHT, lexer.CLOSE):
                break
            args.append(self._operand())
            token = self._peek()
            if token.kind not in (lexer.SPACE, lexer.PIPE, lexer.RIGHT, lexer.CLOSE):
                raise self._unexpected(token, "operand")
        if not args:
            raise self.error("empty command")
        return nodes.Command(at, args)

    def _operand(self) -> nodes.Node:
        node = self._term()
        if self._peek().kind != lexer.FIELD:
            return node
        at = self._peek().at
        names = []
        while self._peek().kind == lexer.FIELD:
            names.append(self._take().text[1:])
        if isinstance(node, nodes.Field):
            return nodes.Field(at, [*node.names, *names])
        if isinstance(node, nodes.Variable):
            return nodes.Variable(at, node.name, [*node.names, *names])
        if isinstance(node, nodes.Constant | nodes.Nil | nodes.Dot):
            raise self.error(f'unexpected . after term "{node}"')
        return nodes.Chain(at, node, names)

    def _term(self) -> nodes.Node:
        token = self._take()
        if token.kind == lexer.IDENTIFIER:
            if token.text not in self._functions:
                raise self.error(f'function "{token.text}" not defined')
            return nodes.Identifier(token.at, token.text)
        if token.kind == lexer.FIELD:
            return nodes.Field(token.at, [token.text[1:]])
        if token.kind == lexer.VARIABLE:
            self._check_variable(token.text)
            return nodes.Variable(token.at, token.text, [])
        if token.kind == lexer.OPEN:
            return self._pipeline("parenthesized pipeline", lexer.CLOSE)
        return self._constant(token)

    def _constant(self, token: lexer.Token) -> nodes.Node:
        if token.kind == lexer.DOT:
            return nodes.Dot(token.at)
        if token.kind == lexer.NIL:
            return nodes.Nil(token.at)
        if token.kind == lexer.BOOL:
            return nodes.Constant(token.at, token.text == "true", token.text)
        try:
            if token.kind == lexer.STRING:
                return nodes.Constant(token.at, unquote(token.text), token.text)
            if token.kind == lexer.CHAR:
                return nodes.Constant(token.at, rune(token.text), token.text)
            if token.kind == lexer.NUMBER:
                return nodes.Constant(token.at, number(token.text), token.text)
        except ValueError as error:
            raise self.error(str(error)) from None
        self._next -= token.kind != lexer.END
        raise self._unexpected(token, "command")

    def _check_variable(self, name: str) -> None:
        if name not in self._variables:
            raise self.error(f'undefined variable "{name}"')
