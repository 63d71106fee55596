"""Other libraries, each in a process and an environment of its own; see setup.sh."""
