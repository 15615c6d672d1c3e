"""Needs: a live environment (``LLMAAS_ENVIRONMENT``, else the lab), this machine being one of its bastions."""

import secrets
import ssl
from collections.abc import Callable, Iterator

import httpx
import kubernetes
import openai
import pytest
from api.environment import ENTRANCES, PLATFORM, SERVED, TENANT, MakeKey

from llmaas.admin import AdminClient, NewKey, Tenant, connect
from llmaas.admin.client import KeyLimits
from llmaas.paths import state_dir
from llmaas.secrets import SecretStore
from llmaas.settings import Platform
from llmaas.verify.connection import kubeconfig

ANSWER_SECONDS = 120.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``entrance`` is run at every service host, one with ``model`` for every served model."""
    for name, values in (("entrance", ENTRANCES), ("model", SERVED)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)


@pytest.fixture(scope="session")
def platform() -> Platform:
    return PLATFORM


@pytest.fixture(scope="session")
def trust() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(state_dir(PLATFORM.environment) / "pki" / "root.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


@pytest.fixture(scope="session")
def admin() -> Iterator[AdminClient]:
    with connect(PLATFORM.environment) as client:
        yield client


@pytest.fixture(scope="session")
def tenant(admin: AdminClient) -> Tenant:
    """The tenant that all keys of these tests belong to; it stays, its keys do not."""
    found = [tenant for tenant in admin.tenants() if tenant.name == TENANT]
    tier = None if admin.gateway is None else PLATFORM.tiers[-1].name
    return found[0] if found else admin.create_tenant(TENANT, KeyLimits(), tier=tier)


@pytest.fixture(scope="session")
def make_key(admin: AdminClient, tenant: Tenant) -> Iterator[MakeKey]:
    """Makes keys and revokes all of them at the end."""
    made: list[NewKey] = []

    def make(expires: str = "1h", **limits: object) -> NewKey:
        made.append(admin.create_key(tenant, f"verify-{secrets.token_hex(6)}", KeyLimits(**limits), expires))
        return made[-1]

    yield make
    left = {key.id for key in admin.list_keys(tenant)}
    for key in made:
        if key.record.id in left:
            admin.revoke_key(key.record)


@pytest.fixture(scope="session")
def key(make_key: MakeKey) -> str:
    return make_key().key


@pytest.fixture(scope="session")
def client_of(trust: ssl.SSLContext) -> Iterator[Callable[[str, str], openai.OpenAI]]:
    """OpenAI's own client at an entrance, with no retries of its own: they would hide a failure."""
    opened: list[httpx.Client] = []

    def client(key: str, entrance: str = ENTRANCES[0]) -> openai.OpenAI:
        opened.append(httpx.Client(verify=trust, trust_env=False, timeout=ANSWER_SECONDS))
        base = f"https://{entrance}/v1"
        return openai.OpenAI(base_url=base, api_key=key, http_client=opened[-1], max_retries=0)

    yield client
    for http in opened:
        http.close()


@pytest.fixture
def web(trust: ssl.SSLContext, entrance: str) -> Iterator[httpx.Client]:
    """A plain client at an entrance."""
    with httpx.Client(verify=trust, trust_env=False, timeout=30, base_url=f"https://{entrance}") as client:
        yield client


@pytest.fixture(scope="session")
def cluster() -> Iterator[kubernetes.client.CoreV1Api]:
    with kubernetes.config.new_client_from_config(str(kubeconfig(PLATFORM.environment))) as client:
        yield kubernetes.client.CoreV1Api(client)


@pytest.fixture(scope="session")
def admin_key() -> str:
    return SecretStore.open(PLATFORM.environment).text("litellm-master-key", prefix="sk-")
