"""What is asked and what came of it: jobs, options, reading manifests, results."""
