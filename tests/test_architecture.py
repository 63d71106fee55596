"""The house, read from its source: which module may import which, and what may stand where.

Nothing here runs the code it reads, except to resolve the names in `__all__`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import slow

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("regularizers", "actmax")

# Arrows go one way only: a module may import those above it. It is the list of the design, read
# line by line, with four moves: plots and reports draw plain data, so that a result can offer them;
# images.py is a leaf that results and callbacks need, the Maximizer
# needs its defaults, and the command line starts the recipes.
ORDER = (
    "_version",
    "types",
    "checks",
    "schedules",
    "files",
    "archives",
    "images",
    "scales",
    "videos",
    "drawing",
    "loading",
    "objectives",
    "constraints",
    "masks",
    "gradients",
    "resizing",
    "preparing",
    "parameterizations",
    "optimizers",
    "operators",
    "models",
    "fingerprints",
    "priors",
    "feeding",
    "problem",
    "loop",
    "plotting",
    "reporting",
    "predictions",
    "records",
    "animations",
    "showing",
    "result",
    "sweeps",
    "callbacks",
    "checkpoints",
    "evidence",
    "defaults",
    "maximizer",
    "batching",
    "throughput",
    "presets",
    "evaluation",
    "catalogs",
    "testing",
    "zoo",
    "recipes",
    "cli",
    "__main__",
)
# Programs on top of the public interface: these may `import actmax` as a user does.
MAY_IMPORT_THE_PACKAGE = ("testing", "zoo", "recipes", "cli", "__main__")
# Kinds of regularizers are for everyone, and so are stateless draws and rounding; the regularizers themselves
# are for those who choose some for a user, or try them.
REGULARIZERS_FOR_ALL = (
    "regularizers.signatures",
    "regularizers.base",
    "regularizers.decorated",
    "regularizers.lanes",
    "regularizers.random",
    "regularizers.slopes",
)
CHOOSES_REGULARIZERS = ("defaults", "presets", "maximizer", "testing", "recipes", "cli")
# The one loop; the checkers, which compile and differentiate what they check; and models.py, which
# traces a model to find its softmax.
TAPES = ("actmax/loop", "actmax/testing", "regularizers/testing")
TRACES = (*TAPES, "actmax/models")
PRINTS = ("actmax/cli", "actmax/callbacks", "actmax/recipes", "actmax/zoo/train")
MAX_LINES = 600


@functools.cache
def parsed(text: str, name: str) -> ast.Module:
    return ast.parse(text, name)


class Module(NamedTuple):
    """One source file: its dotted name, whether it is a package's `__init__`, its text."""

    name: str
    is_package: bool
    text: str

    @property
    def tree(self) -> ast.Module:
        return parsed(self.text, self.name)

    @property
    def place(self) -> str:
        """`actmax/zoo/train` for `actmax.zoo.train`."""
        return self.name.replace(".", "/")

    @property
    def part(self) -> str:
        """`zoo` for `actmax.zoo.train`, empty for `actmax` itself."""
        return (*self.name.split("."), "")[1]


def read_module(path: Path, root: Path) -> Module:
    parts = list(path.relative_to(root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    return Module(
        ".".join(parts[:-1] if is_package else parts), is_package, path.read_text("utf-8")
    )


def read_package(name: str, root: Path = ROOT) -> list[Module]:
    return [read_module(path, root) for path in sorted((root / name).rglob("*.py"))]


MODULES = {name: read_package(name) for name in PACKAGES}
ALL_MODULES = [module for name in PACKAGES for module in MODULES[name]]
NAMES = frozenset(module.name for module in ALL_MODULES) | {f"actmax.{part}" for part in ORDER}

every_module = pytest.mark.parametrize("module", ALL_MODULES, ids=lambda module: module.name)
every_actmax_module = pytest.mark.parametrize(
    "module", MODULES["actmax"], ids=lambda module: module.name
)


def every(modules):
    """Parametrizes a test over some of the modules."""
    return pytest.mark.parametrize("module", list(modules), ids=lambda module: module.name)


every_regularizers_module = pytest.mark.parametrize(
    "module", MODULES["regularizers"], ids=lambda module: module.name
)


def imports(module: Module, known: frozenset[str] = NAMES) -> Iterator[tuple[str, int]]:
    """Every imported module and its line, also inside functions and `if TYPE_CHECKING`.

    `from actmax import loop` imports `actmax.loop`, `from actmax import maximize` imports `actmax`.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.name.split(".")
                drop = node.level - module.is_package
                base = ".".join([*parents[: len(parents) - drop], *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in known else base), node.lineno


def dotted(node: ast.AST) -> str:
    """`tf.autodiff.GradientTape` as it is written; empty for anything but a dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def tensorflow_names(module: Module) -> Iterator[tuple[str, int]]:
    """Every name of TensorFlow and its line: `tensorflow.function` for `tf.function`."""
    bound = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "tensorflow" or (
                    alias.name.startswith("tensorflow.") and alias.asname
                ):
                    bound[alias.asname or alias.name] = alias.name
                elif alias.name.startswith("tensorflow."):
                    bound["tensorflow"] = "tensorflow"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tensorflow":
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node.lineno
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if first in bound:
                yield f"{bound[first]}.{rest}", node.lineno


def public_names(module: Module) -> list[str] | None:
    """`__all__`, or None where there is none; it must be written out."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def is_at(module: Module, places: tuple[str, ...]) -> bool:
    return any(module.place == place or module.place.startswith(f"{place}/") for place in places)


def upward_imports(module: Module) -> list[str]:
    """What a module of actmax imports although it stands below it in ORDER."""
    rank = ORDER.index(module.part)
    faults = []
    for name, line in imports(module):
        package, _, rest = name.partition(".")
        part = rest.split(".")[0]
        if package != "actmax" or part == module.part:
            continue
        if not part:
            if module.part not in MAY_IMPORT_THE_PACKAGE:
                faults.append(f"line {line}: actmax itself; import from the module that defines it")
        elif part not in ORDER or ORDER.index(part) > rank:
            faults.append(f"line {line}: {name}")
    return faults


# The rules


def test_both_packages_are_here():
    for package in PACKAGES:
        assert MODULES[package], f"Expected Python files in {package}/. Received none."


@every_regularizers_module
def test_regularizers_know_tensorflow_alone(module):
    allowed = {"regularizers", "tensorflow", "__future__", *sys.stdlib_module_names}
    faults = [
        f"line {line}: {name}"
        for name, line in imports(module)
        if name.split(".")[0] not in allowed
    ]
    faults += [
        f"line {line}: {name}"
        for name, line in tensorflow_names(module)
        if name.startswith("tensorflow.keras")
    ]
    assert not faults, (
        "Expected imports of TensorFlow and the standard library alone: regularizers stand by "
        f"themselves. Received: {faults}. Move the code that needs more to actmax."
    )


@every_actmax_module
def test_every_module_has_its_place_in_the_order(module):
    assert module.part in ("", *ORDER), (
        f"Expected {module.name} to have a place in the order of imports. Received an unknown "
        "module. Add it to ORDER in tests/test_architecture.py, below everything that it imports."
    )


# The package itself imports everything; unknown modules fail in the test above.
@every(module for module in MODULES["actmax"] if module.part in ORDER)
def test_arrows_go_one_way(module):
    faults = upward_imports(module)
    assert not faults, (
        f"Expected {module.name} to import only modules above it in ORDER. Received: {faults}. "
        "Move what is shared up, or pass it as an argument."
    )


@every(module for module in MODULES["actmax"] if module.part not in CHOOSES_REGULARIZERS)
def test_only_those_who_choose_regularizers_import_them(module):
    faults = [
        f"line {line}: {name}"
        for name, line in imports(module)
        if name.split(".")[0] == "regularizers" and name not in REGULARIZERS_FOR_ALL
    ]
    assert not faults, (
        f"Expected imports from {' and '.join(REGULARIZERS_FOR_ALL)} alone. Received: {faults}. "
        "Name the submodule, or take the regularizer as an argument."
    )


@every_module
def test_tapes_and_traces_are_in_the_loop(module):
    faults = [
        f"line {line}: {name}"
        for name, line in tensorflow_names(module)
        if (name.split(".")[-1] == "GradientTape" and not is_at(module, TAPES))
        or (name == "tensorflow.function" and not is_at(module, TRACES))
    ]
    assert not faults, (
        f"Expected every tf.function and every tape in actmax/loop.py. Received: {faults}. "
        "Write a pure function and let the loop compile and differentiate it."
    )


@every(m for m in ALL_MODULES if m.name in PACKAGES or public_names(m) is not None)
def test_public_names_are_sorted_and_resolve(module):
    names = public_names(module)
    assert names is not None, f"Expected __all__ in {module.name}. Received none. Add it."
    assert names == sorted(set(names)), (
        f"Expected __all__ = {sorted(set(names))}. Received: {names}."
    )
    imported = importlib.import_module(module.name)
    missing = [name for name in names if not hasattr(imported, name)]
    assert not missing, (
        f"Expected every name of {module.name}.__all__ to exist. Missing: {missing}."
    )


def test_no_module_bears_the_name_of_a_public_function():
    public = {
        name
        for module in MODULES["actmax"]
        if not module.part
        for name in public_names(module) or ()
    }
    defined = {
        node.name
        for module in MODULES["actmax"]
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    clashes = sorted(public & defined & {module.part for module in MODULES["actmax"]})
    assert not clashes, (
        f"Expected no module of the name of a public function or class. Received: {clashes}. "
        "Rename the module: importing it would replace the function."
    )


@every_module
def test_modules_are_short(module):
    lines = len(module.text.splitlines())
    assert lines <= MAX_LINES, (
        f"Expected at most {MAX_LINES} lines. Received: {lines} in {module.name}. "
        "Make it a folder of the same name."
    )


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, each group sorted."""
    reached = {name: {name} for name in graph}
    for name in graph:
        waiting = [name]
        while waiting:
            new = graph[waiting.pop()] - reached[name]
            reached[name] |= new
            waiting += new
    return sorted({tuple(sorted(n for n in reached[m] if m in reached[n])) for m in graph})


def test_no_modules_import_each_other():
    graph = {
        module.name: {name for name, _ in imports(module) if name in NAMES}
        for module in ALL_MODULES
    }
    graph = {name: {n for n in graph[name] if n in graph} for name in graph}
    found = [circle for circle in circles(graph) if len(circle) > 1]
    assert not found, (
        f"Expected no circle of imports. Received: {found}. Name what is needed in a module of its own."
    )


@every_module
def test_private_names_stay_in_their_room(module):
    room = module.name if module.is_package else module.name.rpartition(".")[0]
    faults = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            private = [
                alias.name
                for alias in node.names
                if alias.name.startswith("_") and not alias.name.startswith("__")
            ]
            inside = node.module == room or node.module.rpartition(".")[0] == room
            faults += [f"line {node.lineno}: {name}" for name in private if not inside]
    assert not faults, (
        f"Expected public names of other rooms alone. Received: {faults}. Make the name public."
    )


def retired_words() -> set[str]:
    """The left column of the table of retired words."""
    text = (ROOT / "docs/development/vocabulary.md").read_text("utf-8").partition("## Retired")[2]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")][2:]
    return {word.strip() for row in rows for word in row.split(",")}


def named_here(module: Module) -> Iterator[tuple[str, int]]:
    """The names that a module gives: its own, and those of functions, classes and arguments."""
    yield module.name.rpartition(".")[2], 1
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno


def words_of(name: str) -> set[str]:
    """`{"run", "in", "chunks", "chunk"}` of `run_in_chunks`: lower case, and without a plural s."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", name)}
    return words | {word.removesuffix("s") for word in words}


def old_names(module: Module, retired: set[str]) -> list[str]:
    return [f"line {line}: {name}" for name, line in named_here(module) if words_of(name) & retired]


@every_module
def test_retired_words_are_gone(module):
    faults = old_names(module, retired_words())
    # `film=` goes on working as an argument of reports.
    faults = [fault for fault in faults if not fault.endswith(": film")]
    assert not faults, (
        f"Expected the words of docs/development/vocabulary.md. Received: {faults}. Use its right column."
    )


@every(module for module in ALL_MODULES if not is_at(module, PRINTS))
def test_libraries_do_not_print(module):
    lines = [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "print"
    ]
    assert not lines, (
        f"Expected no print outside {', '.join(PRINTS)}. Received: print in line {lines}. "
        "Return the text, or take a callback."
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_a_package_is_a_package(package):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    missing = sorted(
        str(folder.relative_to(ROOT))
        for folder in folders
        if not (folder / "__init__.py").is_file()
    )
    assert not missing, (
        f"Expected an __init__.py in each folder of {package}. Missing in: {missing}. "
        "Add it: the wheel leaves out folders without."
    )


# The rules find what they are for


def source(name: str, text: str, is_package: bool = False) -> Module:
    return Module(name, is_package, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import actmax", "actmax"),
        ("import actmax.loop as compiled", "actmax.loop"),
        ("from actmax import maximize", "actmax"),
        ("from actmax import loop", "actmax.loop"),
        ("from actmax.loop import Loop", "actmax.loop"),
        ("from . import loop", "actmax.loop"),
        ("from .loop import Loop", "actmax.loop"),
        ("from .. import numpy", ""),
        ("def f():\n    import keras.applications", "keras.applications"),
        ("if TYPE_CHECKING:\n    from actmax.result import Result", "actmax.result"),
    ],
)
def test_imports_are_found_in_every_spelling(text, expected):
    assert [name for name, _ in imports(source("actmax.models", text))] == [expected]


def test_relative_imports_of_a_package_start_at_itself():
    package = source("actmax.zoo", "from . import train\nfrom .. import loop", is_package=True)
    known = frozenset({"actmax.zoo.train", "actmax.loop"})
    assert [name for name, _ in imports(package, known)] == ["actmax.zoo.train", "actmax.loop"]


@pytest.mark.parametrize(
    ("name", "text", "faults"),
    [
        ("actmax.loop", "from actmax.problem import Problem", 0),
        ("actmax.loop", "from actmax.loop import chunks", 0),
        ("actmax.loop.chunks", "from actmax.loop import body", 0),
        ("actmax.maximizer", "from actmax import defaults", 0),
        ("actmax.recipes.digits", "import actmax", 0),
        ("actmax.problem", "from actmax.loop import Loop", 1),
        ("actmax.loop", "from actmax import maximize", 1),
        ("actmax.defaults", "from actmax.maximizer import Maximizer", 1),
        ("actmax.defaults", "def f():\n    from .maximizer import Maximizer", 1),
        ("actmax.result", "import actmax.unheard_of", 1),
        ("actmax.types", "import numpy, keras, regularizers.base", 0),
    ],
)
def test_upward_imports_are_found(name, text, faults):
    assert len(upward_imports(source(name, text))) == faults


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import tensorflow as tf\n@tf.function\ndef f(): ...", "tensorflow.function"),
        ("import tensorflow\nf = tensorflow.function(g)", "tensorflow.function"),
        ("from tensorflow import function", "tensorflow.function"),
        ("import tensorflow as tf\nwith tf.GradientTape() as tape: ...", "tensorflow.GradientTape"),
        ("import tensorflow as t\nt.autodiff.GradientTape", "tensorflow.autodiff.GradientTape"),
        (
            "import tensorflow.autodiff\ntensorflow.autodiff.GradientTape",
            "tensorflow.autodiff.GradientTape",
        ),
    ],
)
def test_tapes_and_traces_are_found_in_every_spelling(text, name):
    assert name in [found for found, _ in tensorflow_names(source("actmax.result", text))]


def test_places_are_files_or_folders():
    assert is_at(source("actmax.loop", ""), TAPES)
    assert is_at(source("actmax.loop.chunks", ""), TAPES)
    assert not is_at(source("actmax.loops", ""), TAPES)


def test_all_is_read_with_and_without_a_type():
    assert public_names(source("actmax", '__all__ = ["a", "b"]')) == ["a", "b"]
    assert public_names(source("actmax", '__all__: list[str] = ["a"]')) == ["a"]
    assert public_names(source("actmax", "x = 1")) is None


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert [c for c in circles(graph) if len(c) > 1] == [("b", "c")]


def test_retired_words_are_found_in_every_kind_of_name():
    text = "def has_pull(x): ...\nclass FilmMaker: ...\ndef good(*, photos=None): ...\ndef pullover(): ..."
    assert old_names(source("actmax.loop", text), {"pull", "film", "photo"}) == [
        "line 1: has_pull",
        "line 2: FilmMaker",
        "line 3: photos",
    ]
    assert "pull" in retired_words() and "use" not in retired_words()


@pytest.mark.parametrize("line", sorted(slow.names()))
def test_the_list_of_slow_tests_names_tests_that_exist(line: str) -> None:
    file, _, name = line.partition("::")
    tree = parsed((ROOT / file).read_text(encoding="utf-8"), file)
    assert name.partition("[")[0] in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
