"""Other libraries, each in its own process and environment. See setup.sh."""
