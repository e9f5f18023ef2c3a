"""Ways to run the Wav2Lip network: torch on a CPU or on CUDA, OpenVINO on a CPU."""
