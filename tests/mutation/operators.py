"""Small changes of a source, one at a time, that a test ought to notice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

BINARY = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.Pow: "*",
    ast.FloorDiv: "*",
    ast.Mod: "+",
    ast.BitOr: "&",
    ast.BitAnd: "|",
}
COMPARE = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
NAMES = {
    "mean": "sum", "sum": "mean", "fmean": "median", "median": "mean", "max": "min", "min": "max", "std": "var",
    "var": "std", "log": "exp", "exp": "log", "sin": "cos", "cos": "sin", "ceil": "floor", "floor": "ceil",
    "any": "all", "all": "any", "argmax": "argmin", "argmin": "argmax", "rglob": "glob",
    "forward_evaluations": "backward_evaluations", "backward_evaluations": "forward_evaluations",
}  # fmt: skip
"""Functions and attributes that the same object has both of."""
SPLITS = {"train": "test", "test": "train", "validation": "test"}
DROPPED = ("sqrt", "square", "abs", "log1p", "expm1")
"""Functions of one argument that a mutant leaves out."""
ORDERLESS = ("max", "min", "maximum", "minimum", "isclose", "isinstance", "getattr", "hasattr", "logaddexp")
"""Calls whose first two arguments mean the same in any order, or nothing at all."""


@dataclass(frozen=True)
class Mutant:
    """A change: where, what it is called, the text before and after, and the whole source after it."""

    line: int
    operator: str
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.operator}: `{self.before}` -> `{self.after}`"


Change = tuple[str, int, int, str]
"""What the change is called, where it begins and ends in the source, and the new text."""


def mutants(source: str) -> list[Mutant]:
    """Return every change that the operators make of a source, each of which still parses, by line."""
    tree, text = ast.parse(source), _Text(source)
    skipped = _no_formula(tree)
    found = {
        change: node.lineno
        for node in ast.walk(tree)
        if id(node) not in skipped and hasattr(node, "lineno")
        for change in _changes(node, text)
    }
    made = [
        Mutant(line, name, source[begin:end], after, source[:begin] + after + source[end:])
        for (name, begin, end, after), line in found.items()
    ]
    return sorted(
        (m for m in made if _parses(m.source)), key=lambda m: (m.line, m.operator, m.before, m.after)
    )


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _no_formula(tree: ast.AST) -> set[int]:
    """Return what is no formula: annotations, decorators, defaults of arguments, messages, imports, assertions."""
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found += [*node.decorator_list, *filter(None, [node.returns])]
            found += [a.annotation for a in (*node.args.args, *node.args.kwonlyargs) if a.annotation]
            found += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif isinstance(node, ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.ClassDef):
            found += [*node.decorator_list, *node.bases]
        elif isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
            found.append(node)
        elif isinstance(node, ast.If):
            found += [node] * ("TYPE_CHECKING" in ast.unparse(node.test))
    return {id(inner) for node in found for inner in ast.walk(node)}


class _Text:
    """A source whose pieces are found by their nodes; columns of a node count bytes, not characters."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node's text begins and ends."""
        assert isinstance(node, ast.expr | ast.stmt)
        return self._at(node.lineno, node.col_offset), self._at(
            node.end_lineno or 0, node.end_col_offset or 0
        )

    def _at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def of(self, node: ast.AST) -> str:
        """Return a node's text."""
        begin, end = self.span(node)
        return self.source[begin:end]

    def between(self, left: ast.AST, right: ast.AST, sign: str) -> tuple[int, int, str]:
        """Return the change of the sign between two operands; brackets around it stay."""
        begin, end = self.span(left)[1], self.span(right)[0]
        text = self.source[begin:end]
        core = text.strip(" ()\n")
        place = text.index(core)
        return begin + place, begin + place + len(core), sign


def _changes(node: ast.AST, text: _Text) -> Iterator[Change]:
    yield from _of_operators(node, text)
    yield from _of_constants(node, text)
    yield from _of_names(node, text)
    yield from _of_statements(node, text)


def _of_operators(node: ast.AST, text: _Text) -> Iterator[Change]:
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            yield "arithmetic", *text.between(left, right, BINARY[type(op)])
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield "comparison", *text.between(left, right, COMPARE[type(op)])
        case ast.BoolOp(op=op, values=[left, right, *_]):
            yield "logic", *text.between(left, right, "or" if isinstance(op, ast.And) else "and")
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield "sign", text.span(node)[0], text.span(operand)[0], ""


def _of_constants(node: ast.AST, text: _Text) -> Iterator[Change]:
    match node:
        case ast.Constant(value=bool(value)):
            yield "truth", *text.span(node), str(not value)
        case ast.Constant(value=int(value)):
            yield "number", *text.span(node), str(value - 1 if value > 0 else 1)
        case ast.Constant(value=float(value)):
            yield "number", *text.span(node), repr(2 * value if value else 1.0)
        case ast.Constant(value=str(value)) if value in SPLITS:
            yield "split", *text.span(node), f'"{SPLITS[value]}"'
        case ast.Subscript(slice=ast.Constant(value=0) as index):
            yield "last for first", *text.span(index), "-1"
        case ast.Slice(lower=None, upper=upper, step=None) if upper is not None:
            begin, end = text.span(node)
            yield "slice", begin, end, f"{text.of(upper)}:"
        case ast.Slice(lower=lower, upper=None, step=None) if lower is not None:
            begin, end = text.span(node)
            yield "slice", begin, end, f":{text.of(lower)}"


def _of_names(node: ast.AST, text: _Text) -> Iterator[Change]:
    match node:
        case ast.Attribute(attr=name) if name in NAMES:
            end = text.span(node)[1]
            yield "name", end - len(name), end, NAMES[name]
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES | SPLITS:
            yield "name", *text.span(node), (NAMES | SPLITS)[name]
        case ast.Call(func=ast.Attribute(value=value, attr=name) as function, args=arguments):
            if name in DROPPED:
                yield "dropped", *text.span(node), f"({text.of(arguments[0] if arguments else value)})"
            if name in SPLITS and arguments:
                end = text.span(function)[1]
                yield "split", end - len(name), end, SPLITS[name]
    match node:
        case ast.Call(func=function, args=[first, second, *_]) if _exchangeable(
            function, first, second, text
        ):
            (begin, inner), (outer, end) = text.span(first), text.span(second)
            yield "exchanged", begin, end, text.of(second) + text.source[inner:outer] + text.of(first)


def _exchangeable(function: ast.expr, first: ast.expr, second: ast.expr, text: _Text) -> bool:
    """Tell whether the first two arguments of a call may be exchanged and still be of the right kind."""
    both = (first, second)
    numbers = [isinstance(each, ast.Constant) and not isinstance(each.value, str) for each in both]
    other = ast.Starred | ast.Lambda | ast.Dict | ast.List | ast.JoinedStr
    odd = any(
        isinstance(each, other) or (isinstance(each, ast.Constant) and isinstance(each.value, str))
        for each in both
    )
    name = text.of(function).rpartition(".")[2]
    return (
        numbers[0] == numbers[1] and not odd and name not in ORDERLESS and text.of(first) != text.of(second)
    )


def _of_statements(node: ast.AST, text: _Text) -> Iterator[Change]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            yield "deletion", *text.span(node), "pass"
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if isinstance(
            test, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr
        ):
            yield "condition", *text.span(test), f"(not ({text.of(test)}))"
