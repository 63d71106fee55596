"""Reads the code of functions: what they do, read and write, and whether they return a value."""

from __future__ import annotations

import builtins
import dis
import functools
import hashlib
import sys
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

# Packages whose code is identified by their version.
_VERSIONED = ("actmax", "builtins", "keras", "numpy", "regularizers", "tensorflow", "tf_keras")
_INSTALLED = ("site-packages", "dist-packages")
# Methods that change their object and return nothing.
_FILLS = ("add", "append", "appendleft", "clear", "extend", "insert", "put", "setdefault", "update")
_SILENT = (*_FILLS, "debug", "info", "print", "warning", "write")


class Written(NamedTuple):
    """The names and containers that code writes.

    Attributes:
        names: names of attributes, globals and variables that it assigns.
        fills: whether it changes containers in place.
    """

    names: frozenset[str]
    fills: bool


def digest(code: types.CodeType) -> str:
    """SHA-256 of a function's instructions and constants, without its file and line numbers."""
    return hashlib.sha256(repr(_known(code)).encode()).hexdigest()


def globals_of(function: types.FunctionType) -> dict[str, Any]:
    """The globals that a function reads, by name. For modules of the user, the attributes that it uses."""
    names, attributes = set(), set()
    for code in _with_inner(function.__code__):
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names.add(str(instruction.argval))
            elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                attributes.add(str(instruction.argval))
    found: dict[str, Any] = {}
    for name in sorted(names & set(function.__globals__)):
        value = function.__globals__[name]
        if not isinstance(value, types.ModuleType):
            found[name] = value
        elif not _is_installed(value.__name__):
            taken = {n: getattr(value, n) for n in sorted(attributes) if n in vars(value)}
            found |= {f"{name}.{n}": v for n, v in taken.items()}
    return found


def written_by(code: types.CodeType) -> Written:
    """What a function assigns outside itself, and whether it fills containers."""
    names, fills = set(), False
    for inner in _with_inner(code):
        for instruction in dis.get_instructions(inner):
            kind, name = instruction.opname, str(instruction.argval)
            if kind in ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF"):
                names.add(name)
            fills |= kind == "STORE_SUBSCR"
            fills |= kind in ("LOAD_ATTR", "LOAD_METHOD") and name in _FILLS
    return Written(frozenset(names), fills)


def written(kind: type) -> Written:
    """What the methods of a class write after the creation of an object."""
    names: frozenset[str] = frozenset()
    fills = False
    for owner in kind.__mro__:
        for name, value in vars(owner).items():
            made = name in ("__init__", "__new__", "__post_init__")
            if isinstance(value, types.FunctionType) and not made and not is_versioned(owner):
                found = written_by(value.__code__)
                names, fills = names | found.names, fills or found.fills
    return Written(names, fills)


def answers(function: Any) -> bool:
    """Whether a function may return a value other than None. True if its code cannot be read."""
    if any(function is getattr(builtins, name, None) for name in _SILENT):
        return False  # also if a library has replaced `print`
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return getattr(function, "__name__", "") not in _SILENT
    before = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_CONST" and instruction.argval is not None:
            return True
        if instruction.opname == "RETURN_VALUE" and before is not None:
            nothing = before.opname == "LOAD_CONST" and before.argval is None
            silent = before.opname.startswith("CALL") and _is_silent(code)
            # Where branches meet, as in `STOP if late else None`, there are several possible values.
            if instruction.is_jump_target or not (nothing or silent):
                return True
        before = instruction
    return False


def is_versioned(part: Any) -> bool:
    """Whether the package's version identifies the code of a class or function."""
    return _is_installed(getattr(part, "__module__", None) or "")


def is_generated(function: types.FunctionType) -> bool:
    """Whether `dataclasses` generated a method. Its code follows from the fields."""
    return function.__code__.co_filename.startswith("<string")


@functools.lru_cache(maxsize=512)
def _is_installed(module: str) -> bool:
    top = module.split(".", maxsplit=1)[0]
    if top in _VERSIONED or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return any(part in _INSTALLED for part in file.replace("\\", "/").split("/"))


def _known(code: types.CodeType) -> tuple[Any, ...]:
    # The first constant is the docstring, if there is one.
    constants = code.co_consts[1:] if _has_docstring(code) else code.co_consts
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    inner = [_constant(value) for value in constants]
    return (code.co_code.hex(), inner, code.co_names, named, code.co_freevars, code.co_flags & 0xF)


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _known(value)
    if isinstance(value, tuple):
        return tuple(_constant(each) for each in value)
    # The order of texts in a set differs between processes.
    return sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)


def _has_docstring(code: types.CodeType) -> bool:
    # Python 3.13 marks it. In older versions, a first text is a docstring unless an instruction
    # loads it.
    if not code.co_consts or not isinstance(code.co_consts[0], str):
        return False
    loads = (each for each in dis.get_instructions(code) if each.opcode in dis.hasconst)
    return all(each.argval is not code.co_consts[0] for each in loads)


def _is_silent(code: types.CodeType) -> bool:
    """Whether the outermost call of an expression returns nothing."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            return instruction.argval in _SILENT
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and instruction.argval == "print":
            return True
    return False


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_inner(constant)
