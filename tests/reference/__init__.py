"""Published algorithms stated a second time, plainly, and raydub compared with them (law 8)."""
