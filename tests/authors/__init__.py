"""Published parts as authors write them, right and with one classical mistake each."""
