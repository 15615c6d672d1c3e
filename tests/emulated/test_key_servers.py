"""Key servers are as hard as hosts; they share this machine's kernel like the lab's hosts and have their exceptions."""

import pytest
from emulated.fleet import KEY_SERVERS, Fleet, Remote

# the checks of live hosts, asked of key servers; those that need Kubernetes or a log host are left out
from emulated.live_checks import *  # noqa: F403
from host.probing import Machine, Socket
from host.test_listeners import (  # noqa: F401
    Sockets,
    expectations,
    test_everything_declared_listens_and_is_the_right_program,
    test_nothing_listens_that_was_not_declared,
)

from llmaas.settings import KeyServer, Platform
from llmaas.settings.hardening import HardeningWaiver, load_waivers

# starts and restarts of an emulated host, and Ansible on it, take minutes
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def platform(restarted: Fleet) -> Platform:
    return restarted.platform()


@pytest.fixture(params=[name for name, _ in KEY_SERVERS])
def declared(request: pytest.FixtureRequest, platform: Platform) -> KeyServer:
    (found,) = (server for server in platform.key_servers if server.name == request.param)
    return found


@pytest.fixture(scope="module")
def machines(restarted: Fleet) -> dict[str, Machine]:
    return {server.host.name: Machine(Remote(server.ssh)) for server in restarted.site.key_servers}


@pytest.fixture
def machine(machines: dict[str, Machine], declared: KeyServer) -> Machine:
    return machines[declared.name]


@pytest.fixture
def waived(declared: KeyServer) -> dict[str, HardeningWaiver]:
    return load_waivers().of("lab", declared)


@pytest.fixture(scope="module")
def sockets(machines: dict[str, Machine]) -> dict[str, dict[str, set[Socket]]]:
    return {name: machine.sockets() for name, machine in machines.items()}
