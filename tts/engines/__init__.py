"""Speech engines: what can turn a text into sound, each behind the same small protocol."""
