"""One subject a module; each has a ``subject`` with its rules."""
