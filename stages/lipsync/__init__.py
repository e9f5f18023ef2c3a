"""Lip engines: Wav2Lip checkpoints and the embedded warp."""
