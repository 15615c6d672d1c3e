import ipaddress
from typing import Any

import pytest
from host.probing import Machine

from llmaas.settings import Machine as Declared
from llmaas.settings import Platform
from llmaas.views.host_rules import Rule, host_rules

pytestmark = pytest.mark.key_servers_too

TABLE = "llmaas_hosts"
# Answers to what was let through, the host's own loopback, and the errors that connections need to end in time.
ALWAYS = {
    "input": [
        ("iif lo",),
        ("ct state established,related",),
        ("icmp type destination-unreachable,parameter-problem,time-exceeded",),
    ],
    "output": [
        ("oif lo",),
        ("ct state established,related",),
        ("icmp type destination-unreachable,parameter-problem,time-exceeded",),
    ],
    "forward": [("ct state established,related",)],
}
CHAINS = ("input", "output", "forward")
# nft tells numbers where the host has no /etc/protocols.
PROTOCOLS = {"6": "tcp", "17": "udp"}


def _table(machine: Machine) -> list[dict[str, Any]]:
    listed = machine.json("nft", "-j", "list", "ruleset")["nftables"]
    families = {item["table"]["family"] for item in listed if "table" in item and item["table"]["name"] == TABLE}
    assert families == {"inet"}, "IPv4 and IPv6 alike"
    return [item for item in listed if next(iter(item.values())).get("table") == TABLE]


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_drops_what_no_rule_accepts(machine: Machine, chain: str) -> None:
    chains = [item["chain"] for item in _table(machine) if "chain" in item]
    (found,) = [item for item in chains if item["name"] == chain]
    assert (found["hook"], found["policy"], found["type"]) == (chain, "drop", "filter")


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_accepts_exactly_the_declared_flows(
    machine: Machine, declared: Declared, platform: Platform, chain: str
) -> None:
    rules = [item["rule"] for item in _table(machine) if "rule" in item and item["rule"]["chain"] == chain]
    accepting = {_in_words(rule["expr"]) for rule in rules if {"accept": None} in rule["expr"]}
    wanted = {_declared_words(rule, chain) for rule in getattr(host_rules(platform, declared), chain)}
    if chain == "output":
        # The SSH session that loads the rules is older than connection tracking; an answer never opens a connection.
        bastions = _addresses(tuple(str(address) for address in platform.site.bastions))
        wanted.add((f"ip daddr {bastions}", "tcp flags without syn", "tcp sport 22"))
    assert accepting == wanted | set(ALWAYS[chain])


def test_no_rule_jumps_where_the_check_does_not_look(machine: Machine) -> None:
    verdicts = {name for item in _table(machine) if "rule" in item for part in item["rule"]["expr"] for name in part}
    assert verdicts <= {"match", "accept", "drop", "counter", "reject", "limit", "log"}


@pytest.mark.parametrize("chain", CHAINS)
def test_a_chain_logs_what_it_drops(machine: Machine, chain: str) -> None:
    rules = [item["rule"] for item in _table(machine) if "rule" in item and item["rule"]["chain"] == chain]
    logging = [rule for rule in rules if any("log" in part for part in rule["expr"])]
    # Behind all that accepts, before the end that only counts, and under no condition but how often.
    assert logging == [rules[-2]]
    assert {name for part in logging[0]["expr"] for name in part} == {"limit", "log"}
    (told,) = [part["log"] for part in logging[0]["expr"] if "log" in part]
    assert (told["prefix"], told["group"]) == (f"refused-{chain} ", 1)


def _in_words(expressions: list[dict[str, Any]]) -> tuple[str, ...]:
    """The conditions of a rule, sorted, in a form that can be compared."""
    words = []
    for part in expressions:
        match = part.get("match")
        if match is None:
            continue
        assert match["op"] in {"==", "in", "!"}, f"a rule with {match['op']!r} is not understood"
        without = "without " if match["op"] == "!" else ""
        left, right = _left(match["left"]), _right(match["right"])
        words.append(f"{left} {without}{PROTOCOLS.get(right, right) if left == 'meta l4proto' else right}")
    return tuple(sorted(words))


def _left(side: dict[str, Any]) -> str:
    ((kind, body),) = side.items()
    if kind == "payload":
        return f"{body['protocol']} {body['field']}"
    if kind == "meta":
        return str(body["key"]) if body["key"] in {"iif", "oif"} else f"meta {body['key']}"
    assert kind == "ct", f"a rule with {kind!r} is not understood"
    return " ".join(filter(None, ["ct", body.get("dir", ""), body["key"]]))


def _right(side: Any) -> str:
    if isinstance(side, dict) and "set" in side:
        return ",".join(sorted(_right(item) for item in side["set"]))
    if isinstance(side, list):
        return ",".join(sorted(_right(item) for item in side))
    if isinstance(side, dict) and "prefix" in side:
        return f"{side['prefix']['addr']}/{side['prefix']['len']}"
    return str(side)


def _declared_words(rule: Rule, chain: str) -> tuple[str, ...]:
    words = []
    if rule.sources and chain != "output":
        words.append(f"ip saddr {_addresses(rule.sources)}")
    if rule.published:
        words += ["ct status dnat", f"ct original ip daddr {_addresses(rule.destinations)}"]
        words += [f"meta l4proto {rule.protocol}", f"ct original proto-dst {_numbers(rule.ports)}"]
        return tuple(sorted(words))
    if rule.destinations and chain != "input":
        words.append(f"ip daddr {_addresses(rule.destinations)}")
    if rule.protocol == "icmp":
        words.append("icmp type echo-request")
    elif rule.ports:
        words.append(f"{rule.protocol} dport {_numbers(rule.ports)}")
    elif rule.protocol != "any":
        words.append(f"meta l4proto {rule.protocol}")
    return tuple(sorted(words))


def _addresses(texts: tuple[str, ...]) -> str:
    networks = [ipaddress.ip_network(text) for text in texts]
    return ",".join(sorted(str(item.network_address) if item.prefixlen == 32 else str(item) for item in networks))


def _numbers(ports: tuple[int, ...]) -> str:
    return ",".join(sorted(str(port) for port in ports))
