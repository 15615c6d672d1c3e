"""What surrounds the hosts on an isolated site: package mirror, model weights, image registry and clock."""

from lab.site.running import ensure_site, site_states, stop_site

__all__ = ["ensure_site", "site_states", "stop_site"]
