"""Accounts, as administrators and operators manage them."""
