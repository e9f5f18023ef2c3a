"""The Ray session of a run: addresses, our own Ray, the process that talks to it, Ray Jobs, signals."""
