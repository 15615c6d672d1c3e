"""Key servers are as hard as hosts; they share this machine's kernel like the lab's hosts and have their exceptions."""

import pytest
from emulated.fleet import KEY_SERVERS, Fleet, Remote
from host.probing import Machine, Socket

# the checks of live hosts, asked of key servers; those that need Kubernetes or a log host are left out
from host.test_firewall import *  # noqa: F403
from host.test_hardening import *  # noqa: F403
from host.test_hosts import (  # noqa: F401
    test_a_host_believes_the_environment_s_own_authority_alone,
    test_no_address_but_the_declared_one_and_the_cluster_s,
    test_no_service_has_failed,
    test_packages_come_from_the_site_s_mirror_alone,
    test_sshd_takes_keys_alone_and_forwards_nothing,
    test_the_clock_follows_the_site_s_clocks_alone,
    test_the_host_bears_its_declared_name_and_address,
    test_the_kernel_drops_redirects_forged_sources_and_source_routes,
    test_there_is_no_route_to_the_outside,
)
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
