"""raydub: batch dubbing with matching lips, at any scale. This package is the ground floor: version and errors."""

__version__ = "0.1.0"
