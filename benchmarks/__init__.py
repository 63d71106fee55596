"""Measures how fast actmax is, as a ratio to the floor of the same model in the same run."""
