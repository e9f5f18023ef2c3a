"""Speech to mouth shape: the small network behind the embedded lip engine, its weights, and their recipe."""
