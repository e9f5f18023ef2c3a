"""The weights on this machine: where they lie, how they come there, what is known of them."""
