"""Tasks: the resource that shows how the others are built."""
