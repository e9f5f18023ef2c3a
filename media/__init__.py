"""The only door to codecs: probe, exact frame reading, chunk writing, audio, mux."""
