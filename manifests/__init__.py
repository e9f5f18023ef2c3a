"""Jobs, options, manifests and results."""
