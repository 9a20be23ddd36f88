"""Benchmarks and fault tests that run a real server; run as ``python -m benchmarks.NAME``."""
