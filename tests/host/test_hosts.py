import ipaddress

import pytest
from host.probing import Machine

from llmaas.paths import state_dir
from llmaas.settings import Machine as Declared
from llmaas.settings import Platform

# Written out here on purpose: a wrong setting must not weaken its own check.
NETWORK_KERNEL_PARAMETERS = {
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.all.rp_filter": "1",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.accept_redirects": "0",
    "net.ipv4.conf.default.accept_source_route": "0",
    "net.ipv4.conf.default.rp_filter": "1",
    "net.ipv4.conf.default.send_redirects": "0",
    "net.ipv6.conf.all.accept_ra": "0",
}
SSHD = {
    "allowagentforwarding": "no",
    "allowtcpforwarding": "no",
    "authenticationmethods": "publickey",
    "kbdinteractiveauthentication": "no",
    "passwordauthentication": "no",
    "permitemptypasswords": "no",
    "permitrootlogin": "without-password",
    "permittunnel": "no",
    "permituserenvironment": "no",
    "pubkeyauthentication": "yes",
    "x11forwarding": "no",
}
STRONG_CIPHERS = {"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"}
SERVICES = ("ssh", "chrony", "llmaas-firewall", "containerd", "kubelet")
FARTHEST_CLOCK_SECONDS = 0.5
# What holds a key, of any kind that hosts have: PEM, a kubeconfig, a provider of encryption, chrony's, tang's.
_FILES_WITH_KEYS = """
for folder in /etc/llmaas /etc/kubernetes /etc/ssh /etc/chrony /var/lib/kubelet/pki /var/lib/tang; do
  if [ -d "$folder" ]; then find "$folder" -type f; fi
done | xargs -r -d '\\n' grep -lsE 'PRIVATE KEY-----|client-key-data|secret: |"d": ?"|^[0-9]+ (AES|MD5|SHA)' |
xargs -r -d '\\n' stat -c '%a %U %G %n'
"""
# folder to the user and group of the program whose keys lie there
KEYS_OF_PROGRAMS = {"/etc/chrony/": "_chrony", "/var/lib/tang/": "_tang"}

on_key_servers_too = pytest.mark.key_servers_too


@on_key_servers_too
def test_the_host_bears_its_declared_name_and_address(machine: Machine, declared: Declared) -> None:
    assert machine.output("hostname") == declared.name
    links = machine.json("ip", "-j", "-4", "address", "show", "scope", "global")
    addresses = {info["local"] for link in links for info in link["addr_info"]}
    assert str(declared.address) in addresses


@on_key_servers_too
def test_no_address_but_the_declared_one_and_the_cluster_s(
    machine: Machine, declared: Declared, platform: Platform
) -> None:
    assert machine.json("ip", "-j", "-6", "address", "show", "scope", "global") == []
    links = machine.json("ip", "-j", "-4", "address", "show", "scope", "global")
    found = {ipaddress.ip_address(info["local"]) for link in links for info in link["addr_info"]}
    virtual = {ipaddress.ip_address(str(platform.kubernetes.api_address))}
    strangers = {
        address
        for address in found - {ipaddress.ip_address(str(declared.address))} - virtual
        if address not in ipaddress.ip_network(str(platform.network.pods))
        and address not in ipaddress.ip_network(str(platform.network.services))
    }
    assert not strangers


@on_key_servers_too
def test_there_is_no_route_to_the_outside(machine: Machine) -> None:
    assert machine.json("ip", "-j", "route", "show", "default") == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_service_runs_and_starts_with_the_host(machine: Machine, service: str) -> None:
    state = machine.output("systemctl", "show", "-p", "ActiveState,UnitFileState", f"{service}.service")
    assert "ActiveState=active" in state
    assert "UnitFileState=enabled" in state


@on_key_servers_too
def test_no_service_has_failed(machine: Machine) -> None:
    failed = machine.json("systemctl", "list-units", "--state=failed", "--output=json")
    assert [unit["unit"] for unit in failed] == []


@on_key_servers_too
def test_the_kernel_drops_redirects_forged_sources_and_source_routes(machine: Machine, declared: Declared) -> None:
    # hosts carry packets of pods, key servers nobody's
    right = NETWORK_KERNEL_PARAMETERS | {"net.ipv4.ip_forward": "1" if declared.roles else "0"}
    values = machine.output("sysctl", "-n", *right).split()
    assert dict(zip(right, values, strict=True)) == right


@on_key_servers_too
def test_no_interface_believes_routers_of_ipv6(machine: Machine) -> None:
    # of IPv6, unlike IPv4, what `all` says holds for no interface that was there before
    names = r"^net\.ipv6\.conf\..+\.(accept_ra|accept_redirects|accept_source_route)$"
    live = [line.split(" = ") for line in machine.output("sysctl", "-a", "--pattern", names).splitlines()]
    assert {"all", "default", "lo"} <= {name.split(".")[3] for name, _ in live}
    assert [name for name, value in live if value != "0"] == []


@on_key_servers_too
def test_sshd_takes_keys_alone_and_forwards_nothing(machine: Machine) -> None:
    lines = (line.partition(" ") for line in machine.output("sshd", "-T").splitlines())
    live = {name: value for name, _, value in lines}
    assert {name: live[name] for name in SSHD} == SSHD
    assert set(live["ciphers"].split(",")) <= STRONG_CIPHERS
    assert set(live["hostkeyalgorithms"].split(",")) == {"ssh-ed25519"}
    assert int(live["maxauthtries"]) <= 3
    # sshd does not tell what it grants within a Match, and an Include may bring one
    assert machine.output("sed", "-nE", r"/^\s*(match|include)\b/Ip", "/etc/ssh/sshd_config") == ""
    assert machine.output("find", "/etc/ssh/sshd_config.d", "-type", "f") == ""


@on_key_servers_too
def test_the_clock_follows_the_site_s_clocks_alone(machine: Machine, platform: Platform) -> None:
    sources = [line.split(",")[2] for line in machine.output("chronyc", "-c", "-n", "sources").splitlines()]
    assert set(sources) == {str(address) for address in platform.site.time_servers}
    tracking = machine.output("chronyc", "-c", "-n", "tracking").split(",")
    assert tracking[1] in sources, "not synchronised"
    assert abs(float(tracking[4])) < FARTHEST_CLOCK_SECONDS


@on_key_servers_too
def test_packages_come_from_the_site_s_mirror_alone(machine: Machine, platform: Platform) -> None:
    sources = machine.output("apt-get", "indextargets", "--format", "$(SITE)").split()
    assert sources
    assert {source.rstrip("/") for source in sources} == {str(platform.site.packages_url).rstrip("/")}


@on_key_servers_too
def test_only_root_may_read_keys_on_the_host(machine: Machine) -> None:
    lines = [line.split(" ", 3) for line in machine.output("sh", "-c", _FILES_WITH_KEYS).splitlines()]
    assert {"/etc/ssh/ssh_host_ed25519_key", "/etc/llmaas/trust/host.key"} <= {line[3] for line in lines}
    assert [line for line in lines if not _is_read_by_few(*line)] == []


def _is_read_by_few(mode: str, owner: str, group: str, path: str) -> bool:
    """Whether root alone may read a file, or one program that has a user of its own."""
    program = next((name for folder, name in KEYS_OF_PROGRAMS.items() if path.startswith(folder)), "root")
    group_may, others_may = int(mode, 8) & 0o070, int(mode, 8) & 0o007
    return owner in {"root", program} and not others_may and (not group_may or group == program != "root")


@on_key_servers_too
def test_a_host_believes_the_environment_s_own_authority_alone(machine: Machine, platform: Platform) -> None:
    bundle = machine.output("cat", "/etc/ssl/certs/ca-certificates.crt")
    root = (state_dir(platform.environment) / "pki" / "root.crt").read_text(encoding="utf-8")
    assert bundle.split() == root.split()
