"""How fast a loop is: against its floor, and what each part of it costs."""

from actmax.throughput.measuring import benchmark
from actmax.throughput.plot import plot
from actmax.throughput.records import Measurement, Throughput
from actmax.throughput.samples import Summary

__all__ = ["Measurement", "Summary", "Throughput", "benchmark", "plot"]
