"""The Ray session of a run: addresses, our own Ray, the process that speaks to it, Ray Jobs, signals."""
