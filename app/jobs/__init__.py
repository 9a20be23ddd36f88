"""Jobs that users ask for: exports and imports, and how they are going."""
