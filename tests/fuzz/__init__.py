"""Long runs of what the tests sample: `python -m tests.fuzz`."""
