"""Networks that restore faces: GFPGAN and CodeFormer, key-compatible with the published checkpoints."""
