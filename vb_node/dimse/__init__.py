"""Messages: associations, C-STORE and C-ECHO, on both sides. No pixels, no ledger."""
