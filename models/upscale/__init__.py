"""Upscaling networks: RRDBNet and SRVGGNetCompact, their strict loading, and what a pixel costs."""
