"""How paths and texts of copies of objects are told from all others (raydub.objects.near)."""

from __future__ import annotations

import os

NEAR = f"{os.sep}raydub-near{os.sep}"
"""The folder of all copies, in the cache folder of this machine."""
MARK = "\ue000raydub-near:"
"""Begins text that stands for the path of a copy. U+E000 is for private use; other text that begins so is escaped."""
