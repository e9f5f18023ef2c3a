"""How it flows: plan jobs into chunks, the Ray Data graph, the driver loop, ledger, progress."""
