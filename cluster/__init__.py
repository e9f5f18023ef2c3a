"""Where it runs: the command line, and the Ray session behind it."""
