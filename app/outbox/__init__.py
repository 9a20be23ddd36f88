"""Work that is handed over in the transaction that causes it, and done after that."""
