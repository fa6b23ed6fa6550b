"""How a command ends."""

DONE = 0
FAILED = 1
WRONG_USAGE = 2
NOT_ANALYSED = 3
"""A result that says why was written."""
