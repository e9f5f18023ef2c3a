"""From voices and a bed to the sound of the film: levels, ducking, loudness, limiter."""
