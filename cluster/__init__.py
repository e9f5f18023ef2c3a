"""Where it runs: Ray session and resources, job submission, the command line."""
