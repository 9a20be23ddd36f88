"""Accounts whose owner proves to be it by mail."""
