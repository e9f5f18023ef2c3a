"""Where it runs: the command line (cli, commands), one run (runner and its neighbours), the Ray session (session)."""
