"""The commands of the CLI, one module each. Heavy modules are imported inside the commands, for a quick start."""
