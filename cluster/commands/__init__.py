"""The commands of the CLI, one module each. Heavy modules are imported inside the commands, so that start-up is
quick."""
