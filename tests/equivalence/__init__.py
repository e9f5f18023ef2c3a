"""Our networks beside spandrel's, on the same weights; see README.md."""
