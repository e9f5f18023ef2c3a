"""The pipeline: jobs into chunks, chunks through the stages (plain loop or Ray Data), parts into videos."""
