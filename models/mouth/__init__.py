"""Speech to mouth shape: the small network behind the embedded lip engine, its weights, and the recipe that made them."""
