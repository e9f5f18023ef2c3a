"""Faces over time: detection, landmarks, linking, choice of speaker. Windowed: nothing looks further than HALO."""
