"""The site's own services as hosts reach them: at one address, by the names that the stack file gives them."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from llmaas.settings import Platform


def site_names(platform: Platform) -> tuple[str, ...]:
    """The names, not addresses, under which hosts reach the site; they ask no name server."""
    return tuple(dict.fromkeys(name for url in platform.site.urls.values() if (name := name_in(url))))


def name_in(url: str) -> str:
    """The name of the machine that a URL leads to; empty where an address stands in it."""
    host = str(urlsplit(url).hostname)
    try:
        ip_address(host)
    except ValueError:
        return host
    return ""
