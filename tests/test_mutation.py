"""The mutants are what they are said to be, and the program tells a noticed fault from one that is not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.mutation.mutants import around, mutants
from tests.mutation.reach import Reach

ROOT = Path(__file__).resolve().parents[1]


def of(code: str) -> list[str]:
    return [mutant.what for mutant in mutants(textwrap.dedent(code))]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = a < b", ["a < b -> a <= b"]),
        ("x = a is None", ["a is None -> a is not None"]),
        ("x = a / b", ["a / b -> a * b"]),
        ("x = -a", ["-a -> a"]),
        ("x = not a", ["not a -> a"]),
        ("x = a and b", ["a and b -> a or b"]),
        ("x = True", ["True -> False"]),
        ("x = 0.0", ["0.0 -> 1.0"]),
        ("x = 3", ["3 -> 4"]),
        ("x += y", ["x += y -> x -= y"]),
        ("x = f(a, axis=b)", ["f(a, axis=b) -> f(a)"]),
        ("f(a)", ["f(a) -> pass"]),
        ("raise E", ["raise E -> pass"]),
        ("x = a if c else b", ["a if c else b -> a if not c else b"]),
    ],
)
def test_one_fault_each(code, expected):
    assert of(code) == expected


def test_what_does_not_run_has_no_mutants():
    code = '''
        """Docstring of 3 words."""
        from a import b
        __all__ = [1]
        if TYPE_CHECKING:
            x = 1 + 2
        @decorated(4)
        def f(x: int | None = None) -> list[1]:
            """Another."""
    '''
    assert of(code) == []


@pytest.mark.parametrize("file", sorted((ROOT / "regularizers").glob("*.py")), ids=lambda f: f.stem)
def test_every_mutant_of_a_real_module_compiles_and_differs(file):
    source = file.read_text("utf-8")
    plain = ast.unparse(ast.parse(source)) + "\n"
    found = list(mutants(source))[::17]
    assert found or file.stem == "__init__"
    for mutant in found:
        compile(mutant.source, str(file), "exec")
        assert mutant.source != plain
        lines = source.splitlines()
        assert 1 <= mutant.line <= len(lines)


def test_the_innermost_function_around_a_line():
    code = "a = 1\nclass A:\n    b = 2\n    def f(self):\n        return 3\n"
    assert [list(around(code, line)) for line in (1, 3, 5)] == [[], [2, 3, 4, 5], [4, 5]]


def test_tests_are_tried_file_by_file_the_quickest_first(tmp_path):
    names = ["a.py::1", "a.py::2", "b.py::1", "c.py::1"]
    seconds = dict(zip(names, [0.3, 0.1, 0.2, 5.0], strict=True))
    lines = {"m.py": {"7": names[:3], "8": names[3:]}}
    (tmp_path / "reach.json").write_text(json.dumps({"lines": lines, "seconds": seconds}))
    reach = Reach(tmp_path)
    assert reach.tests("m.py", [7], 10) == ["a.py::2", "b.py::1", "a.py::1"]
    assert reach.tests("m.py", [7], 0.2) == ["a.py::2", "b.py::1"]
    assert reach.tests("m.py", [7, 8], 10) == ["a.py::2", "b.py::1", "c.py::1", "a.py::1"]
    assert reach.tests("m.py", [9], 10) == reach.tests("n.py", [7], 10) == []


@pytest.mark.slow
def test_a_planted_fault_is_noticed_and_a_harmless_one_is_not(tmp_path):
    """The program itself, on two faults of the L2 penalty: a sum for a mean, and an unused number."""
    program = textwrap.dedent(
        """
        import sys
        from tests.mutation import __main__ as program
        from tests.mutation.mutants import Mutant
        source = (program.ROOT / "regularizers/penalties.py").read_text("utf-8")
        import tensorflow
        tests = ("tests/regularizers/test_penalties.py",)
        mean, total = "tf.reduce_mean(tf.square(", "tf.reduce_sum(tf.square("
        wrong = Mutant(1, "wrong", source.replace(mean, total))
        right = Mutant(1, "right", source + "\\nUNUSED = 1\\n")
        assert wrong.source != source
        found = program.run(
            [program.Case("regularizers/penalties.py", each, tests) for each in (wrong, right)], 1, 300
        )
        print({case.mutant.what: kind for case, kind, _ in found})
        """
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.stdout.strip().endswith("{'wrong': 'killed', 'right': 'survived'}"), ran.stderr
