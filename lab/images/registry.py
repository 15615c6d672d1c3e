"""The registry, as far as building needs it: which image is behind a tag, and of which inputs it was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from lab.images.parts import Report
from lab.images.spec import ImageError
from llmaas.files import write_atomically
from llmaas.paths import state_dir
from llmaas.pki import open_authority
from llmaas.settings import Platform

_MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class PushedImage:
    """What a registry holds under a tag: the digest of the manifest, the labels, the bytes of all layers as stored."""

    digest: str
    labels: dict[str, str]
    size: int


@dataclass(frozen=True)
class Registry:
    """A registry over TLS. ``address`` is where it is reached; ``name`` is what references to its images carry.

    ``certificates`` is a folder with the ``ca.crt`` that its certificate is checked against.
    """

    address: str
    name: str
    certificates: Path

    def push_options(self) -> list[str]:
        """Options with which buildah trusts it."""
        return ["--cert-dir", str(self.certificates), "--tls-verify=true"]

    def _get(self, path: str, accept: str = "application/json") -> httpx.Response:
        try:
            response = httpx.get(
                f"https://{self.address}/v2/{path}",
                headers={"Accept": accept},
                verify=str(self.certificates / "ca.crt"),
                timeout=_TIMEOUT_SECONDS,
                follow_redirects=True,
                trust_env=False,
            )
        except (httpx.HTTPError, OSError) as error:
            raise ImageError(
                f"the registry {self.address} does not answer: {error}",
                remedy="start it first, with the certificate of `llmaas pki site`; the lab's: llmaas lab up",
            ) from error
        return response

    def find(self, path: str, tag: str) -> PushedImage | None:
        """The image behind a tag, or None where there is none.

        Raises:
            ImageError: the registry does not answer, or not as a registry.
        """
        manifest = self._get(f"{path}/manifests/{tag}", _MANIFEST_TYPES)
        if manifest.status_code == httpx.codes.NOT_FOUND:
            return None
        if manifest.status_code != httpx.codes.OK:
            raise ImageError(f"{self.address}/{path}:{tag}: the registry answers {manifest.status_code}")
        content = manifest.json()
        config = self._get(f"{path}/blobs/{content['config']['digest']}")
        if config.status_code != httpx.codes.OK:
            # The manifest points at nothing: the image has to be pushed again.
            return None
        return PushedImage(
            digest=manifest.headers["Docker-Content-Digest"],
            labels=(config.json().get("config") or {}).get("Labels") or {},
            size=sum(layer["size"] for layer in content["layers"]),
        )

    def reference(self, path: str, tag: str, digest: str) -> str:
        """The name by which an image is deployed: the digest decides, the tag tells people and policies the version."""
        return f"{self.name}/{path}:{tag}@{digest}"


def registry_of(platform: Platform, report: Report = print) -> Registry:
    """The environment's registry, reached at the site's address and trusted by our own authority.

    That the authority nears its end is reported.
    """
    authority = open_authority(platform.environment)
    if authority.notice:
        report(f"note: {authority.notice}")
    trust = state_dir(platform.environment) / "registry-ca"
    trust.mkdir(mode=0o700, exist_ok=True)
    write_atomically(trust / "ca.crt", authority.root.read_bytes())
    port = platform.site.registry.rpartition(":")[2]
    return Registry(address=f"{platform.site.address}:{port}", name=platform.site.registry, certificates=trust)
