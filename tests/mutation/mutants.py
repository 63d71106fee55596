"""Small faults, one at a time: a comparison turned, a sign lost, a number off by one, a check left out."""

from __future__ import annotations

import ast
import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.MatMult: ast.Add, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitXor: ast.BitOr,
}  # fmt: skip
# What says something to people and type checkers, and does nothing.
_SILENT = ("annotation", "returns", "decorator_list", "type_comment")
# Arguments of calls that change no value, so that no test can notice another one; nothing else is left out:
# zip(strict=) is an assertion that lengths are equal, and raises only where there is another fault already;
# GradientTape(watch_accessed_variables=) has a tape record variables as well: what it then computes for what
# it was told to watch is the same; while_loop(parallel_iterations=): "For correct programs, while_loop should
# return the same result for any parallel_iterations > 0" (TensorFlow's documentation).
_EQUAL = {
    ("zip", "strict"),
    ("GradientTape", "watch_accessed_variables"),
    ("while_loop", "parallel_iterations"),
}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A source with one fault.

    Attributes:
        line: where it is.
        column: likewise, counted from 0.
        what: the change in words, `old -> new`.
        source: of the whole module.
    """

    line: int
    column: int
    what: str
    source: str


def mutants(source: str, every: int = 1) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines as far as one node lies before another.

    With `every` only the first and each so many after it: the others are counted, not made.
    """
    tree, counted = ast.parse(source), itertools.count()
    for path in _places(tree, ()):
        node = _at(tree, path)
        for number, change in enumerate(_changes(node)):
            if next(counted) % every:
                continue
            other = copy.deepcopy(tree)
            holder, (field, index) = _at(other, path[:-1]), path[-1]
            new = change(_at(other, path))
            if index is None:
                setattr(holder, field, new)
            else:
                getattr(holder, field)[index] = new
            ast.fix_missing_locations(other)
            what = f"{_short(node)} -> {_short(new)}"
            if _short(node) == _short(new):  # as far as they are shown
                what += f" (change {number + 1})"
            yield Mutant(node.lineno, node.col_offset, what, ast.unparse(other) + "\n")


def around(source: str, line: int) -> range:
    """Lines of the innermost function or class around a line; of none, if there is none."""
    found = range(0)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if line in lines and (not found or len(lines) < len(found)):
                found = lines
    return found


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) < 70 else text[:67] + "..."


Path = tuple[tuple[str, int | None], ...]


def _at(tree: Any, path: Path) -> Any:
    for field, index in path:
        value = getattr(tree, field)
        tree = value if index is None else value[index]
    return tree


def _places(node: ast.AST, path: Path) -> Iterator[Path]:
    """Paths of all nodes that run, but docstrings, `__all__` and what only type checkers read."""
    for field, value in ast.iter_fields(node):
        if field in _SILENT:
            continue
        children = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if not isinstance(child, ast.AST) or _is_silent(child) or _is_equal(node, child):
                continue
            own = (*path, (field, index))
            if isinstance(child, (ast.expr, ast.stmt)):
                yield own
            yield from _places(child, own)


def _is_silent(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name):
        return node.annotation.id == "TypeAlias"
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == "TYPE_CHECKING"
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def _is_equal(node: ast.AST, keyword: ast.AST) -> bool:
    """Whether a keyword of a call can be changed or left out, and nothing else changes."""
    if not isinstance(node, ast.Call) or not isinstance(keyword, ast.keyword):
        return False
    function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
    name = function.id if isinstance(function, ast.Name) else function
    return (name, keyword.arg) in _EQUAL


Change = Callable[[Any], ast.AST]


def _changes(node: ast.AST) -> Iterator[Change]:
    """What can be done to a copy of a node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _compare
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
        yield _arithmetic
    elif isinstance(node, ast.BoolOp):
        yield _both
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield lambda found: found.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        yield _number
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield _negated
    elif isinstance(node, ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield lambda found: ast.copy_location(ast.Pass(), found)
    elif isinstance(node, ast.Call):
        for number, keyword in enumerate(node.keywords):
            if keyword.arg is not None and not _is_equal(node, keyword):
                yield _without(number)


def _compare(node: ast.Compare) -> ast.AST:
    node.ops = [_COMPARISONS[type(node.ops[0])]()]
    return node


def _arithmetic(node: Any) -> ast.AST:
    node.op = _ARITHMETIC[type(node.op)]()
    return node


def _both(node: ast.BoolOp) -> ast.AST:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node


def _number(node: ast.Constant) -> ast.AST:
    value: Any = node.value
    if isinstance(value, bool):
        node.value = not value
    elif isinstance(value, int):
        node.value = value + 1
    else:
        node.value = 2 * value if value else 1.0
    return node


def _negated(node: Any) -> ast.AST:
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def _without(number: int) -> Change:
    def change(node: ast.Call) -> ast.AST:
        del node.keywords[number]
        return node

    return change
