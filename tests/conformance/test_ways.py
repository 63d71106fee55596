"""A part in ways that a run may be computed; `python -m tests.soak.ways` tries all parts in all of them."""

from tests.conformance.ways import look


def test_xla_and_half_precision_agree_with_the_plain_way():
    assert look("Scale", ("XLA", "mixed")) == {"XLA": "", "mixed": ""}
