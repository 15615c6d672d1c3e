"""The database's URL as libpq takes it: without what only Prisma knows, and so that a lost host is noticed."""

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# Whoever waits for a host that is lost learns of it in a minute, and not in the two hours of the system's own. The
# image of PostgreSQL has the same for its side.
_KEEPALIVES: Final = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
# Of what libpq knows; Prisma's own parameters (connection_limit, schema ...) in the same URL would be refused.
_PARAMETERS: Final = frozenset({"application_name", "connect_timeout", "options", "sslmode", "sslrootcert"}) | set(
    _KEEPALIVES
)


def libpq_url(text: str) -> str:
    """What libpq knows of a URL, and keepalives where it names none; ``PGSSLROOTCERT`` is libpq's own business."""
    url = urlsplit(text)
    kept = {name: value for name, value in parse_qsl(url.query) if name in _PARAMETERS}
    return urlunsplit(url._replace(query=urlencode(kept | {n: v for n, v in _KEEPALIVES.items() if n not in kept})))
