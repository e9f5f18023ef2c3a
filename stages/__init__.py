"""What happens to a chunk: track, mask, lipsync, render, stitch. Plain Python, never Ray."""
