"""The page of raydub for people who do not live in a terminal: `raydub ui`."""
