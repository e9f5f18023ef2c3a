"""Objects in buckets: their names, reading and writing them, and the folder of each machine that caches them."""
