"""How fast a loop is: against its floor, and what each part of it costs."""

from actmax.throughput.samples import Summary, interleaved, paired_difference, paired_ratio, summarize

__all__ = [
    "Summary",
    "interleaved",
    "paired_difference",
    "paired_ratio",
    "summarize",
]
