"""The speaker's own mouths: a gallery of real frames of the video, and the choice among them."""
