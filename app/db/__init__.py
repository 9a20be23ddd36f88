"""Models, column types, engines, compiled statements, keyset pagination and transactions."""
