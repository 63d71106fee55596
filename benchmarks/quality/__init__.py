"""Measures the quality of pictures with separately trained networks: `python -m benchmarks.quality`."""
