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
    ast.MatMult: "*",
}
COMPARE = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
NAMES = {
    "mean": "sum", "sum": "mean", "fmean": "median", "median": "fmean", "max": "min", "min": "max", "std": "var",
    "var": "std", "log": "exp", "exp": "log", "sqrt": "abs", "forward_evaluations": "backward_evaluations",
    "backward_evaluations": "forward_evaluations", "train": "test", "test": "train", "ceil": "floor", "floor": "ceil",
    "any": "all", "all": "any",
}  # fmt: skip


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


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every change that the operators make of a source, each of which still parses."""
    tree = ast.parse(source)
    starts = _line_starts(source)
    skipped = _annotations(tree)
    for node in ast.walk(tree):
        if id(node) in skipped or not hasattr(node, "lineno"):
            continue
        for operator, begin, end, after in _changes(node, source, starts):
            changed = source[:begin] + after + source[end:]
            try:
                ast.parse(changed)
            except SyntaxError:
                continue
            yield Mutant(node.lineno, operator, source[begin:end], after, changed)


def _line_starts(source: str) -> list[int]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _annotations(tree: ast.AST) -> set[int]:
    """Return what is no arithmetic: annotations, decorators, docstrings, messages of errors, defaults of arguments."""
    found: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found += [*node.decorator_list, *filter(None, [node.returns])]
            found += [a.annotation for a in (*node.args.args, *node.args.kwonlyargs) if a.annotation]
            found += [*node.args.defaults, *filter(None, node.args.kw_defaults)]  # settings, not formulas
        elif isinstance(node, ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.ClassDef):
            found += [*node.decorator_list, *node.bases]
        elif isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
            found.append(node)
    return {id(inner) for node in found for inner in ast.walk(node)}


def _changes(node: ast.AST, source: str, starts: list[int]) -> Iterator[tuple[str, int, int, str]]:
    begin, end = _span(node, starts, source)
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            yield "arithmetic", *_between(left, right, starts, source, BINARY[type(op)])
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARE:
            yield "comparison", *_between(left, right, starts, source, COMPARE[type(op)])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield "sign", begin, _span(operand, starts, source)[0], ""
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "negation", begin, _span(operand, starts, source)[0], ""
        case ast.BoolOp(op=op, values=[left, right]):
            yield "logic", *_between(left, right, starts, source, "or" if isinstance(op, ast.And) else "and")
        case ast.Constant(value=bool(value)):
            yield "truth", begin, end, str(not value)
        case ast.Constant(value=int(value)):
            yield "number", begin, end, str(value + 1)
        case ast.Constant(value=float(value)):
            yield "number", begin, end, repr(2 * value if value else 1.0)
        case ast.Slice(lower=None, upper=upper, step=None) if upper is not None:
            yield "slice", begin, end, f"{source[begin:end].lstrip(':')}:"
        case ast.Slice(lower=lower, upper=None, step=None) if lower is not None:
            yield "slice", begin, end, f":{source[begin:end].rstrip(':')}"
        case ast.Attribute(attr=attr) if attr in NAMES:
            yield "name", end - len(attr), end, NAMES[attr]
        case ast.Name(id=name, ctx=ast.Load()) if name in NAMES:
            yield "name", begin, end, NAMES[name]
        case ast.Expr(value=ast.Call()):
            yield "deletion", begin, end, "pass"
        case ast.AugAssign():
            yield "deletion", begin, end, "pass"
        case ast.Call(
            func=ast.Name(id="max" | "min") | ast.Attribute(attr="maximum" | "minimum" | "isclose")
        ):
            return  # in any order the same
        case ast.Call(args=[first, second, *_]) if not any(
            isinstance(a, ast.Starred) for a in (first, second)
        ):
            a, b = _span(first, starts, source), _span(second, starts, source)
            swapped = source[b[0] : b[1]] + source[a[1] : b[0]] + source[a[0] : a[1]]
            if source[a[0] : a[1]] != source[b[0] : b[1]]:
                yield "arguments swapped", a[0], b[1], swapped


def _span(node: ast.AST, starts: list[int], source: str) -> tuple[int, int]:
    """Return where a node's text begins and ends; columns are bytes, which are characters where all are ASCII."""

    def at(line: int, column: int) -> int:
        text = source[starts[line - 1] : starts[line]]
        return starts[line - 1] + len(text.encode()[:column].decode())

    return at(node.lineno, node.col_offset), at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]


def _between(
    left: ast.AST, right: ast.AST, starts: list[int], source: str, sign: str
) -> tuple[int, int, str]:
    """Return the change of the sign between two operands, what is around it kept."""
    begin, end = _span(left, starts, source)[1], _span(right, starts, source)[0]
    text = source[begin:end]
    core = text.strip().strip("()").strip()
    place = text.index(core) if core else 0
    return begin + place, begin + place + len(core), sign
