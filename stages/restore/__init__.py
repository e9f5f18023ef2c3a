"""Face restoration after the mouths are drawn: align, run the network, paste what it changed."""
