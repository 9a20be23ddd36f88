"""Fault tests: one part of an installation fails while many clients write."""
