"""Trees to text."""

from __future__ import annotations

from corten.cli.gotemplate import functions, lexer, nodes, printing
from corten.cli.gotemplate.errors import CallError, ExecError
from corten.cli.gotemplate.printing import MISSING, type_name
from corten.cli.output import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Functions = dict[str, Callable[..., Any]]

    Trees = dict[str, list[nodes.Node]]

# Go stops at 100,000; Python's own stack would end before that.
MAX_DEPTH = 200
NO_ARGUMENT = object()


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template. `strict`: a key that a map does not have is an error (Go's missingkey=error)."""

    def __init__(self, trees: Trees, source: str, name: str = "", strict: bool = False) -> None:
        self._trees = trees
        self._source = source
        self._name = name
        self._strict = strict

    def execute(self, data: Any, replaced: Functions | None = None) -> str:
        """The text for `data`, with some functions `replaced`. Raises ExecError."""
        run = _Run(self._trees, self._source, self._name, self._strict, replaced or {})
        run.scope = [("$", data)]
        run.walk(data, self._trees[self._name])
        return "".join(run.out)


class _Run:
    def __init__(self, trees: Trees, source: str, name: str, strict: bool, replaced: Functions) -> None:
        self._trees = trees
        self._source = source
        self._name = name
        self._strict = strict
        self._replaced = replaced
        self.depth = 0
        self.scope: list[tuple[str, Any]] = []
        self.out: list[str] = []

    def _fail(self, node: nodes.Node, message: str) -> ExecError:
        line = lexer.line_of(self._source, node.at)
        column = node.at - (self._source.rfind("\n", 0, node.at) + 1)
        return ExecError(f'template: {self._name}:{line}:{column}: executing "{self._name}" at <{node}>: {message}')

    # ------------------------------------------------------------------ statements

    def walk(self, dot: Any, body: Iterable[nodes.Node]) -> None:
        for node in body:
            if isinstance(node, nodes.Text):
                self.out.append(node.text)
            elif isinstance(node, nodes.Action):
                value = self._pipeline(dot, node.pipe)
                if not node.pipe.variables:
                    self.out.append(visible(printing.text(value)))
            elif isinstance(node, nodes.Branch):
                self._branch(dot, node)
            elif isinstance(node, nodes.Template):
                self._call_template(dot, node)
            elif isinstance(node, nodes.Jump):
                raise _Break if node.word == "break" else _Continue

    def _branch(self, dot: Any, node: nodes.Branch) -> None:
        mark = len(self.scope)
        try:
            if node.word == "range":
                self._range(dot, node)
                return
            value = self._pipeline(dot, node.pipe)
            if functions.truth(value):
                self.walk(value if node.word == "with" else dot, node.body)
            else:
                self.walk(dot, node.otherwise)
        finally:
            del self.scope[mark:]

    def _range(self, dot: Any, node: nodes.Branch) -> None:
        variables = node.pipe.variables
        value = self._commands(dot, node.pipe)
        pairs = self._pairs(node, value)
        if not pairs:
            self.walk(dot, node.otherwise)
            return
        mark = len(self.scope)
        for key, element in pairs:
            del self.scope[mark:]
            if variables:
                named = dict(zip(variables, (key, element) if len(variables) == 2 else (element,), strict=True))
                for name, bound in named.items():
                    self._bind(name, bound, node.pipe.assign)
            try:
                self.walk(element, node.body)
            except _Continue:
                continue
            except _Break:
                break

    def _pairs(self, node: nodes.Branch, value: Any) -> list[tuple[Any, Any]]:
        if isinstance(value, dict):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, list | tuple):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        if value is MISSING:
            return []
        raise self._fail(node.pipe, f"range can't iterate over {printing.text(value)}")

    def _call_template(self, dot: Any, node: nodes.Template) -> None:
        body = self._trees.get(node.name)
        if body is None:
            raise self._fail(node, f'template "{node.name}" not defined')
        if self.depth >= MAX_DEPTH:
            raise self._fail(node, f"exceeded maximum template depth ({MAX_DEPTH})")
        value = self._pipeline(dot, node.pipe) if node.pipe is not None else None
        inner = _Run(self._trees, self._source, node.name, self._strict, self._replaced)
        inner.depth = self.depth + 1
        inner.scope = [("$", value)]
        inner.out = self.out
        inner.walk(value, body)

    # ------------------------------------------------------------------ pipelines

    def _pipeline(self, dot: Any, pipe: nodes.Pipe) -> Any:
        value = self._commands(dot, pipe)
        for name in pipe.variables:
            self._bind(name, value, pipe.assign)
        return value

    def _commands(self, dot: Any, pipe: nodes.Pipe) -> Any:
        value: Any = NO_ARGUMENT
        for command in pipe.commands:
            value = self._command(dot, command, value)
        return value

    def _bind(self, name: str, value: Any, assign: bool) -> None:
        if not assign:
            self.scope.append((name, value))
            return
        for at in range(len(self.scope) - 1, -1, -1):
            if self.scope[at][0] == name:
                self.scope[at] = (name, value)
                return

    def _command(self, dot: Any, command: nodes.Command, final: Any) -> Any:
        head, arguments = command.args[0], command.args[1:]
        if isinstance(head, nodes.Identifier):
            return self._function(dot, head, command, arguments, final)
        if isinstance(head, nodes.Field):
            return self._chain(dot, head, dot, head.names, arguments, final)
        if isinstance(head, nodes.Variable):
            return self._chain(dot, head, self._lookup(head.name), head.names, arguments, final)
        if isinstance(head, nodes.Chain):
            return self._chain(dot, head, self._operand(dot, head.node), head.names, arguments, final)
        if arguments or final is not NO_ARGUMENT:
            raise self._fail(head, f"can't give argument to non-function {_shown(head)}")
        if isinstance(head, nodes.Nil):
            raise self._fail(head, "nil is not a command")
        return self._operand(dot, head)

    def _operand(self, dot: Any, node: nodes.Node) -> Any:
        """The value of an argument."""
        if isinstance(node, nodes.Dot):
            return dot
        if isinstance(node, nodes.Nil):
            return None
        if isinstance(node, nodes.Constant):
            return node.value
        if isinstance(node, nodes.Field):
            return self._chain(dot, node, dot, node.names, [], NO_ARGUMENT)
        if isinstance(node, nodes.Variable):
            return self._chain(dot, node, self._lookup(node.name), node.names, [], NO_ARGUMENT)
        if isinstance(node, nodes.Pipe):
            return self._pipeline(dot, node)
        if isinstance(node, nodes.Chain):
            return self._chain(dot, node, self._operand(dot, node.node), node.names, [], NO_ARGUMENT)
        if isinstance(node, nodes.Identifier):
            return self._function(dot, node, node, [], NO_ARGUMENT)
        raise self._fail(node, "can't evaluate this")

    def _lookup(self, name: str) -> Any:
        return next(value for found, value in reversed(self.scope) if found == name)

    # ------------------------------------------------------------------ fields

    def _chain(
        self, dot: Any, node: nodes.Node, receiver: Any, names: list[str], arguments: list[nodes.Node], final: Any
    ) -> Any:
        for position, name in enumerate(names):
            last = position == len(names) - 1
            receiver = self._field(node, receiver, name, dot, arguments if last else [], final if last else NO_ARGUMENT)
        if not names and (arguments or final is not NO_ARGUMENT):
            raise self._fail(node, f"can't give argument to non-function {node}")
        return receiver

    def _field(
        self, node: nodes.Node, receiver: Any, name: str, dot: Any, arguments: list[nodes.Node], final: Any
    ) -> Any:
        given = [self._operand(dot, argument) for argument in arguments]
        given += [] if final is NO_ARGUMENT else [final]
        if receiver is None or receiver is MISSING:
            if receiver is None:
                raise self._fail(node, f"nil pointer evaluating interface {{}}.{name}")
            raise self._fail(node, f"nil data; no entry for key {printing.quoted(name)}")
        if isinstance(receiver, dict):
            if given:
                raise self._fail(node, f"{name} is not a method but has arguments")
            if name in receiver:
                return receiver[name]
            if name in (zeros := getattr(receiver, "zeros", {})):
                return zeros[name]
            if go_name := getattr(receiver, "go_name", ""):
                raise self._fail(node, f"can't evaluate field {name} in type {go_name}")
            if self._strict or zeros:
                raise self._fail(node, f"map has no entry for key {printing.quoted(name)}")
            return MISSING
        found = self._struct_field(node, receiver, name)
        if callable(found):
            if len(given) != 1:
                raise self._fail(node, f"wrong number of args for {name}: want 1 got {len(given)}")
            return found(*given)
        if given:
            raise self._fail(node, f"{name} is not a method but has arguments")
        return found

    def _struct_field(self, node: nodes.Node, receiver: Any, name: str) -> Any:
        try:
            return receiver.go_field(name)
        except (AttributeError, KeyError):
            raise self._fail(node, f"can't evaluate field {name} in type {type_name(receiver)}") from None

    # ------------------------------------------------------------------ functions

    def _function(
        self, dot: Any, head: nodes.Identifier, command: nodes.Node, arguments: list[nodes.Node], final: Any
    ) -> Any:
        if head.name in functions.LAZY:
            return self._and_or(dot, head, arguments, final)
        values = [self._operand(dot, argument) for argument in arguments]
        values += [] if final is NO_ARGUMENT else [final]
        least, most = functions.COUNTS[head.name]
        if len(values) < least or (most >= 0 and len(values) > most):
            wanted = f"at least {least}" if most < 0 else str(least)
            raise self._fail(head, f"wrong number of args for {head.name}: want {wanted} got {len(values)}")
        if head.name == "printf" and not isinstance(values[0], str):
            raise self._fail(arguments[0] if arguments else head, f"expected string; found {printing.text(values[0])}")
        try:
            return (self._replaced.get(head.name) or functions.FUNCTIONS[head.name])(*values)
        except CallError as error:
            raise self._fail(command, f"error calling {head.name}: {error}") from None

    def _and_or(self, dot: Any, head: nodes.Identifier, arguments: list[nodes.Node], final: Any) -> Any:
        """The first argument that decides, or the last; those behind it are not evaluated."""
        if not arguments and final is NO_ARGUMENT:
            raise self._fail(head, f"wrong number of args for {head.name}: want at least 1 got 0")
        value: Any = None
        for argument in arguments:
            value = self._operand(dot, argument)
            if functions.truth(value) == (head.name == "or"):
                return value
        return value if final is NO_ARGUMENT else final


def _shown(node: nodes.Node) -> str:
    return f"({node})" if isinstance(node, nodes.Pipe) else str(node)
