"""The key that the site's clocks and the hosts share, as chrony reads it."""

from typing import Final

SECRET: Final = "time-key"  # noqa: S105  (its name)


def key_file(key: bytes) -> str:
    """A key file of chrony with the one key, number 1."""
    return f"1 AES256 HEX:{key.hex()}\n"
