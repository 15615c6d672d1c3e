"""Key servers as a host sees them: what they advertise, and what a binding on a device says of them."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 10
# the members of a key that its thumbprint is made of (RFC 7638)
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


def decoded(text: str) -> bytes:
    """Base64 as JOSE writes it: for URLs, without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(key: dict[str, Any]) -> str:
    """SHA-256 thumbprint of a JSON web key, as tang-show-keys prints it."""
    members = {name: key[name] for name in _MEMBERS[key["kty"]]}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def signing_thumbprints(key_set: dict[str, Any]) -> list[str]:
    """Thumbprints of the keys of an advertisement that sign."""
    return [thumbprint(key) for key in key_set["keys"] if "verify" in key.get("key_ops", [])]


def advertised(url: str) -> list[str]:
    """Thumbprints of the signing keys that the server at ``url`` advertises.

    Raises:
        ValueError: it does not answer, or not as a key server does; the text says which.
    """
    # no proxy of the host's stands between it and a key server
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/adv", timeout=_TIMEOUT_SECONDS) as answer:
            advertisement = json.load(answer)
        return signing_thumbprints(json.loads(decoded(advertisement["payload"])))
    except (OSError, urllib.error.URLError) as error:
        raise ValueError(f"{url} does not answer: {getattr(error, 'reason', error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{url} does not answer as a key server does: {error}") from error


def binding_of(token: dict[str, Any]) -> dict[str, Any]:
    """What a clevis token of a LUKS2 header asks for: ``threshold`` and ``servers`` (address -> thumbprints).

    A token that is not a share among tang servers gives the threshold 0 and no servers.
    """
    header = _header(token["jwe"])
    shares = header.get("clevis", {}).get("sss")
    if not shares:
        return {"threshold": 0, "servers": {}}
    servers = {}
    for jwe in shares["jwe"]:
        tang = _header(jwe).get("clevis", {}).get("tang")
        if tang:
            servers[tang["url"]] = signing_thumbprints(tang["adv"])
    return {"threshold": shares["t"], "servers": servers}


def exchange_keys(jwe: dict[str, Any] | str) -> list[str]:
    """Thumbprints of the keys that open what clevis encrypted, one for each of its tang servers.

    Raises:
        KeyError: it is bound to a tang server and does not say to which key.
    """
    header = _header(jwe)
    pins = header.get("clevis", {})
    if "tang" in pins:
        return [header["kid"]]
    return [key for share in pins.get("sss", {}).get("jwe", []) for key in exchange_keys(share)]


def _header(jwe: dict[str, Any] | str) -> dict[str, Any]:
    """The protected header of a JWE, in either of its two forms."""
    protected = jwe.split(".", 1)[0] if isinstance(jwe, str) else jwe["protected"]
    header: dict[str, Any] = json.loads(decoded(protected))
    return header
