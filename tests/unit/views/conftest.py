from pathlib import Path

import pytest

from llmaas.pki import Authority, open_authority
from llmaas.settings import Platform, load_platform
from llmaas.views.leaves import leaf_requests


@pytest.fixture(scope="session")
def platform() -> Platform:
    return load_platform("lab")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMAAS_STATE", str(tmp_path_factory.mktemp("state")))
        return open_authority("unit")


@pytest.fixture(scope="session")
def certificates(authority: Authority, platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as pods see them: tls.crt, tls.key, tls.pem and ca.crt of every leaf; valid for 127.0.0.1 too."""
    root = tmp_path_factory.mktemp("certificates")
    for request in leaf_requests(platform):
        leaf = authority.ensure_leaf(
            request.name, dns=request.dns, addresses=[*request.addresses, "127.0.0.1"], usage=request.usage
        )
        folder = root / request.name
        folder.mkdir()
        (folder / "tls.crt").write_bytes(leaf.certificate.read_bytes())
        (folder / "tls.key").write_bytes(leaf.key.read_bytes())
        (folder / "tls.pem").write_bytes(leaf.certificate.read_bytes() + leaf.key.read_bytes())
        (folder / "ca.crt").write_bytes(leaf.ca.read_bytes())
    return root
