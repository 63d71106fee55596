"""Code in the documentation, taken out of its pages and run."""
