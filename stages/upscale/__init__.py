"""Larger pictures: frames, or faces alone, through an upscaling network in tiles."""
