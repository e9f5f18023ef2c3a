"""The path of the embedded weights, without importing torch."""

from __future__ import annotations

from pathlib import Path

EMBEDDED = Path(__file__).with_name("mouth.safetensors")
LICENCE = "Apache-2.0 (learned from research clips, see MODEL_CARD.md)"
