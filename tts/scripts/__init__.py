"""Scripts: what is to be said, when and by whom."""
