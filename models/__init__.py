"""Networks, safe loading of weights, training recipes."""
