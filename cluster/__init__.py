"""The command line (cli, commands), the Python API (api), one run (runner and others), the Ray session (session)."""
