"""Work that is done after the request that causes it."""
