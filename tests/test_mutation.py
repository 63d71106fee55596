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
from tests.mutation.reach import Reach, _without

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


def test_each_so_many_are_the_same_mutants():
    source = (ROOT / "regularizers/crop.py").read_text("utf-8")
    assert list(mutants(source, every=7)) == list(mutants(source))[::7]


def test_what_changes_no_value_has_no_mutants():
    assert of("for a, b in zip(x, y, strict=True): f(b)") == ["f(b) -> pass"]
    assert of("with tf.GradientTape(watch_accessed_variables=False) as tape: x = g(tape)") == []
    assert of("x = tf.while_loop(a, b, c, parallel_iterations=1)") == []
    # Of these calls alone, and of them nothing else.
    assert of("x = f(strict=True)") == ["f(strict=True) -> f()", "True -> False"]
    assert len(of("x = tf.GradientTape(persistent=True, watch_accessed_variables=False)")) == 2
    assert len(of("x = zip(a, b - c, strict=True)")) == 1


def test_no_two_mutants_of_a_module_have_the_same_place_and_words():
    """A run that goes on knows them by these: two of one name would share one end."""
    for file in ("regularizers/crop.py", "actmax/loop/bare_pass.py", "actmax/loop/tensors.py"):
        found = [(m.line, m.column, m.what) for m in mutants((ROOT / file).read_text("utf-8"))]
        assert len(set(found)) == len(found) > 10
    calls = [(m.column, m.what) for m in mutants(f"x = f({'a' * 80}, b=c, d=e)")]
    assert len(calls) == len(set(calls)) == 2


def test_what_does_not_run_has_no_mutants():
    code = '''
        """Docstring of 3 words."""
        from a import b
        __all__ = [1]
        if TYPE_CHECKING:
            x = 1 + 2
        Name: TypeAlias = int | None
        @decorated(4)
        def f(x: int | None = None) -> list[1]:
            """Another."""
    '''
    assert of(code) == []


@pytest.mark.parametrize("file", sorted((ROOT / "regularizers").glob("*.py")), ids=lambda f: f.stem)
def test_every_mutant_of_a_real_module_compiles_and_differs(file):
    source = file.read_text("utf-8")
    plain = ast.unparse(ast.parse(source)) + "\n"
    found = list(mutants(source, every=17))
    assert found or file.stem == "__init__"
    for mutant in found:
        compile(mutant.source, str(file), "exec")
        assert mutant.source != plain
        lines = source.splitlines()
        assert 1 <= mutant.line <= len(lines)


def test_the_innermost_function_around_a_line():
    code = "a = 1\nclass A:\n    b = 2\n    def f(self):\n        return 3\n"
    assert [list(around(code, line)) for line in (1, 3, 5)] == [[], [2, 3, 4, 5], [4, 5]]


def test_the_quickest_tests_are_tried_first_then_those_of_every_file(tmp_path):
    seconds = {"a.py::1": 0.1, "a.py::2": 0.2, "a.py::3": 0.4, "a.py::4": 0.5, "b.py::1": 2.0}
    lines = {"m.py": {"7": sorted(seconds)[::-1], "8": ["a.py::4"]}}
    (tmp_path / "reach.json").write_text(json.dumps({"lines": lines, "seconds": seconds}))
    reach = Reach(tmp_path)
    assert reach.tests("m.py", [7], 10) == ["a.py::1", "a.py::2", "a.py::3", "a.py::4", "b.py::1"]
    assert reach.tests("m.py", [7], 0.5) == ["a.py::1", "a.py::2", "a.py::3"]
    assert reach.tests("m.py", [8], 10) == reach.tests("m.py", [8], 0.1) == ["a.py::4"]
    assert reach.tests("m.py", [9], 10) == reach.tests("n.py", [7], 10) == []
    assert reach.tests_of_folder("n.py", 10) == reach.tests("m.py", [7], 10)
    assert reach.tests_of_folder("of/n.py", 10) == []


def test_the_files_take_turns_for_the_second_half(tmp_path):
    seconds = {f"a.py::{n}": 1.0 for n in range(6)} | {"b.py::1": 2.0, "c.py::1": 3.0}
    (tmp_path / "reach.json").write_text(
        json.dumps({"lines": {"m.py": {"7": list(seconds)}}, "seconds": seconds})
    )
    expected = ["a.py::0", "a.py::1", "a.py::2", "a.py::3", "b.py::1"]
    assert Reach(tmp_path).tests("m.py", [7], 6) == expected


def test_a_test_file_measured_anew_takes_the_place_of_what_was_known_of_it(tmp_path):
    lines = {"m.py": {"7": ["a.py::1", "b.py::1"]}, "n.py": {"3": ["a.py::1"]}}
    seconds = {"a.py::1": 0.1, "b.py::1": 0.2}
    (tmp_path / "reach.json").write_text(json.dumps({"lines": lines, "seconds": seconds}))
    assert _without(tmp_path, ["a.py"]) == (
        {"m.py": {"7": ["b.py::1"]}, "n.py": {"3": []}},
        {"b.py::1": 0.2},
    )


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
        wrong = Mutant(1, 0, "wrong", source.replace(mean, total))
        right = Mutant(1, 0, "right", source + "\\nUNUSED = 1\\n")
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
