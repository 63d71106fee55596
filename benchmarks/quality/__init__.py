"""How good pictures are, by networks trained apart: `python -m benchmarks.quality`."""
