"""The checks of live hosts that any machine can be asked, also one without Kubernetes; to be imported whole."""

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
