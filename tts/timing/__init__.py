"""When each cue is heard, and how its speech is made to fit its time."""
