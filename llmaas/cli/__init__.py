"""The command line ``llmaas``: one subject a module, found by name in ``main``."""
