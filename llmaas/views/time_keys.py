"""The key that the site's clocks and the hosts share, as chrony reads it."""

import base64
from typing import Final

SECRET: Final = "time-key"  # noqa: S105  (its name)


def key_file(secret: str) -> str:
    """A key file of chrony with the one key, number 1, for the text that the secret store keeps of it."""
    return f"1 AES256 HEX:{base64.urlsafe_b64decode(f'{secret}=').hex()}\n"
