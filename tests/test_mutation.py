"""The mutants are what they are said to be, and the program tells a noticed fault from one that is not."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants

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
