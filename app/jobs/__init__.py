"""Jobs: exports and imports of tasks that run in the background."""
