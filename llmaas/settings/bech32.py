"""The checksum of bech32 texts, such as age's recipients, as BIP-173 defines it."""

from typing import Final

_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def is_whole(text: str) -> bool:
    """Whether a bech32 text in lower case carries its own checksum; one that is mistyped does not."""
    prefix, separator, data = text.rpartition("1")
    if not (prefix and separator and set(data) <= set(_LETTERS)):
        return False
    expanded = [*(ord(letter) >> 5 for letter in prefix), 0, *(ord(letter) & 31 for letter in prefix)]
    checksum = 1
    for value in (*expanded, *(_LETTERS.index(letter) for letter in data)):
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum == 1
