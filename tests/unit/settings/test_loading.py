import copy
import json
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime.config import CONFIG, set_all_config
from unit.settings.mistakes import problems

from llmaas.paths import stack_file
from llmaas.settings import SettingsError, build_platform, load_platform, load_platform_from_pulumi
from llmaas.settings import loading as loading_module
from llmaas.settings.source import sections_of_file, sections_of_text

ENVIRONMENTS = ["lab", "production"]


@pytest.fixture
def lab() -> dict[str, Any]:
    return copy.deepcopy(sections_of_file("lab")[1])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_both_loaders_give_equal_platforms(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = yaml.safe_load(stack_file(environment).read_text())["config"]
    configuration = {key: value if isinstance(value, str) else json.dumps(value) for key, value in document.items()}
    before = CONFIG.get()
    monkeypatch.setattr(pulumi, "get_stack", lambda: environment)
    try:
        set_all_config({**configuration, "pulumi:tags": "{}"})
        assert load_platform_from_pulumi() == load_platform(environment)
    finally:
        CONFIG.set(before)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_platforms_are_frozen(environment: str) -> None:
    platform = load_platform(environment)
    with pytest.raises(ValueError, match="frozen"):
        platform.country = "DE"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        platform.hosts[0].name = "other"  # type: ignore[misc]


def test_the_lab_has_the_shape_that_its_readers_expect() -> None:
    platform = load_platform("lab")
    assert [host.name for host in platform.hosts_with_role("control")] == ["control-01"]
    assert len(platform.hosts_with_role("gpu")) == 12
    assert platform.model("granite3.3:8b").slug == "granite3-3-8b"
    assert platform.artefact(platform.model("llama3.1:70b").artefact).licence == "Apache-2.0"
    assert [tier.output_tokens_per_day for tier in platform.tiers] == [
        3_600_000,
        7_200_000,
        10_800_000,
        14_400_000,
        None,
    ]


def test_five_different_mistakes_are_all_reported(lab: dict[str, Any]) -> None:
    lab["hosts"][3]["address"] = "10.77.0.21"
    lab["hosts"][4]["gpus"]["count"] = "4"
    lab["models"][0]["placement"] = {"gpu-host-99": 1}
    lab["models"][1]["contextt_tokens"] = 1
    lab["gateway"]["replicas"] = 0
    del lab["kubernetes"]
    found = problems(lab)
    assert found == [
        "llmaas:hosts[3].address: 10.77.0.21 is already the address of gpu-host-01; give each host its own",
        "llmaas:hosts[4].gpus.count: '4' is not a whole number; give how many GPUs the host has, 1 to 64",
        "llmaas:models[0].placement.gpu-host-99: is no host of llmaas:hosts; did you mean gpu-host-09?",
        "llmaas:models[1].contextt_tokens: is no known key; did you mean context_tokens?",
        "llmaas:gateway.replicas: 0 is too small; give gateway replicas, 1 to 100",
        "llmaas:kubernetes: is missing; give a mapping with version, api_address and control_plane_host_names",
    ]


def change(path: str, value: object) -> Any:
    """A mistake: what stands at ``path`` is replaced, or removed when the value is ``...``."""

    def apply(sections: dict[str, Any]) -> None:
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        place: Any = sections
        for part in parents:
            place = place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        ("country", False, "country", "quote"),
        ("country", "france", "country", "ISO 3166"),
        ("countri", "FR", "countri", "did you mean country?"),
        ("hosts", {}, "hosts", "is not a list"),
        ("hosts", [], "hosts", "too few"),
        ("hosts/0", "control-01", "hosts[0]", "is not a mapping"),
        ("hosts/1/name", "gpu-host-02", "hosts[2].name", "already the name of llmaas:hosts[1]"),
        ("hosts/1/name", "GPU_1", "hosts[1].name", "lower-case"),
        ("hosts/1/address", "10.77.1.21", "hosts[1].address", "outside llmaas:network.hosts (10.77.0.0/24)"),
        ("hosts/1/address", "10.77.0.1", "hosts[1].address", "already the address of the site"),
        ("hosts/1/address", "10.77.0.255", "hosts[1].address", "broadcast"),
        ("hosts/1/address", "10.77.0", "hosts[1].address", "is not an IPv4 address"),
        ("hosts/1/roles", ["gpu", "gpus"], "hosts[1].roles[1]", "control, gpu, log, service"),
        ("hosts/1/roles", ["gpu", "gpu"], "hosts[1].roles", "stands twice"),
        ("hosts/3/gpus", ..., "hosts[3].gpus", "is missing on a host with role gpu"),
        ("hosts/3/roles", ["service"], "hosts[3].gpus", "without role gpu"),
        ("hosts/3/gpus/count", -4, "hosts[3].gpus.count", "is too small"),
        ("hosts/3/gpus/memory_gib", 10**9, "hosts[3].gpus.memory_gib", "is too large"),
        ("hosts/0/roles", ["service"], "hosts", "no host has the role control"),
        ("gateway/replicas", 3, "gateway.replicas", "3 proxies, but 2 hosts with the role service, and each takes one"),
        ("hosts/2/roles", ["gpu", "control"], "hosts", "2 control hosts survive no more losses than 1"),
        ("network/pods", "10.77.0.0/16", "network.pods", "overlaps llmaas:network.hosts"),
        ("network/pods", "10.244.0.0", "network.pods", "has no prefix length"),
        ("network/pods", "10.244.0.1/16", "network.pods", "the network is 10.244.0.0/16"),
        ("network/services", 3, "network.services", "is not text"),
        ("network/services", "10.96/16", "network.services", "is not an IPv4 "),
        ("kubernetes/api_address", "10.77.0.21", "kubernetes.api_address", "not the only control host's"),
        ("kubernetes/version", 1.36, "kubernetes.version", "is not text"),
        ("site/packages_url", "http://10.77.0.1/debian", "site.packages_url", "https://"),
        ("site/packages_url", "https://10.77.0.2:8443/debian", "site.packages_url", "give 10.77.0.1 or a name"),
        ("site/artefacts_url", "https://10.77.0.300/models", "site.artefacts_url", "is not llmaas:site.address"),
        ("site/registry", "10.77.0.2:5000", "site.registry", "give 10.77.0.1 or a name"),
        ("site/bastions", ..., "site.bastions", "is missing"),
        ("models/0/placement", {"control-01": 1}, "models[0].placement.control-01", "has no role gpu"),
        ("models/0/placement", {"gpu-host-05": 1}, "models[2].placement.gpu-host-05", "place 1 of them elsewhere"),
        ("models/0/placement", {"gpu-host-03": -1}, "models[0].placement.gpu-host-03", "is too small"),
        ("models/0/artefact", "tiny-lama", "models[0].artefact", "did you mean tiny-llama?"),
        ("models/0/name", "granite3.3-8b", "demand[0].model", "did you mean granite3.3-8b?"),
        ("models/1/name", "granite3.3-8b", "models[1].name", "rename one"),
        ("models/0/replacement", "gpt", "models[0].replacement", "is no entry of llmaas:models"),
        ("models/0/production_date", "2026-02-30", "models[0].production_date", "is not a date"),
        ("models/0/context_tokens", 4096, "models[0].context_tokens", "give at most 2048"),
        ("models/0/most_output_tokens", 1025, "models[0].most_output_tokens", "give at most 1024"),
        ("models/0/most_output_tokens", 0, "models[0].most_output_tokens", "is too small"),
        ("models/0/gpus_per_replica", 1.5, "models[0].gpus_per_replica", "is not a whole number"),
        ("models/0/phase", "beta", "models[0].phase", "experimental, stable, deprecated or removed"),
        ("models/0/capabilities", ["chat", "tools"], "models[0].tool_parser", "capabilities has tools; give the one"),
        ("models/0/capabilities", ["chat", "reasoning"], "models[0].reasoning_parser", "of deepseek_r1, deepseek_v3"),
        ("models/0/tool_parser", "granite", "models[0].tool_parser", "stands without the capability tools"),
        ("models/0/reasoning_parser", "granite", "models[0].reasoning_parser", "without the capability reasoning"),
        ("models/0/tool_parser", "llama3", "models[0].tool_parser", "granite4, hermes, kimi_k2, llama3_json"),
        ("models/0/reasoning_parser", "deepseek", "models[0].reasoning_parser", "is not one of the allowed values"),
        ("models/2/memory_gib", 7, "models[2].memory_gib", "a server with 4 GPUs can start in; give 8 or more"),
        ("models/0/memory_gib", 0, "models[0].memory_gib", "memory of the host for one replica in GiB, 4 to 4096"),
        ("artefacts/0/manifest", "../secret", "artefacts[0].manifest", "relative to the stack file"),
        ("tiers", ..., "tiers", "is missing"),
        ("tiers/1/name", "T1", "tiers[1].name", "already the name"),
        ("tiers/0/euros_while_ledger_is_away", "refuse", "tiers[0].euros_while_ledger_is_away", "0 refuses its calls"),
        ("tiers/4/priority", "normal", "tiers[4].priority", "in a monthly tier; calls of monthly tiers come before"),
        ("tiers/0/priority", "high", "tiers[0].priority", "so give normal"),
        ("tiers/0/parallel_requests", 0, "tiers[0].parallel_requests", "is too small"),
        (
            "gateway/administration_host_names",
            ["api.lab.llmaas.internal"],
            "gateway.administration_host_names[0]",
            "give administration a name of its own",
        ),
        ("gateway/public_addresses", ["10.77.0.22"], "gateway.public_addresses[0]", "is the address of gpu-host-02"),
        ("gateway/public_addresses", ["10.77.0.10"], "gateway.public_addresses[0]", "is the address of control-01"),
        ("gateway/public_addresses", ["10.77.0.1"], "gateway.public_addresses[0]", "is the address of the site"),
        ("gateway/public_addresses", ["10.244.7.1"], "gateway.public_addresses[0]", "lies in llmaas:network.pods"),
        ("gateway/public_addresses", ["10.96.0.7"], "gateway.public_addresses[0]", "lies in llmaas:network.services"),
        ("gateway/public_addresses", ["10.77.0.7"] * 2, "gateway.public_addresses[1]", "stands in public_addresses[0]"),
        ("gateway/public_addresses", ["api.test"], "gateway.public_addresses[0]", "is not an IPv4 address; give the"),
        ("hosts/0/country", "France", "hosts[0].country", "ISO 3166"),
        ("hosts/0/country", False, "hosts[0].country", "quote"),
        ("site/registry_country", "fr", "site.registry_country", "ISO 3166"),
        ("state/backend", "https://api.pulumi.com", "state.backend", "the site's own"),
        ("state/country", 33, "state.country", "is not text"),
        ("backup/target", "tape", "backup.target", "none (nothing is kept"),
        ("retention/logs/days", -1, "retention.logs.days", "is too small"),
        ("retention/logs/days", 10**6, "retention.logs.days", "is too large"),
        ("retention/logs", ..., "retention.logs", "is missing"),
        ("retention/audit/source", "", "retention.audit.source", "is empty"),
        ("retention/accounts", ..., "retention.accounts", "is missing"),
        ("retention/accounts/days", 0, "retention.accounts.days", "is too small"),
        ("retention/accounts/financial_year_ends", 0, "retention.accounts.financial_year_ends", "is too small"),
        ("waivers", [{}], "waivers[0].expires", "is missing"),
        ("demand/0/peak_factor", 0.5, "demand[0].peak_factor", "is too small"),
        ("service_levels/availability_percent", 100.0, "service_levels.availability_percent", "is too large"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(
    lab: dict[str, Any], path: str, value: object, where: str, says: str
) -> None:
    change(path, value)(lab)
    found = problems(lab)
    assert any(line.startswith(f"llmaas:{where}: ") and says in line for line in found), found


def test_tiers_that_all_pay_the_same_way_may_have_any_priority(lab: dict[str, Any]) -> None:
    lab["tiers"] = [tier for tier in lab["tiers"] if tier["billing"] == "prepaid"]
    lab["tiers"][0]["priority"] = "high"
    assert build_platform("lab", lab).tiers[0].priority == "high"


def test_a_wrong_host_hides_no_other_mistake_and_makes_no_false_ones(lab: dict[str, Any]) -> None:
    lab["hosts"][3]["gpus"]["count"] = "many"
    lab["hosts"][5]["name"] = "gpu_host_05"
    lab["models"][2]["placement"] = {"gpu_host_05": 1}
    lab["hosts"][6]["address"] = "10.77.0.21"
    paths = [line.split(": ")[0] for line in problems(lab)]
    assert paths == [
        "llmaas:hosts[3].gpus.count",
        "llmaas:hosts[5].name",
        "llmaas:hosts[6].address",
        "llmaas:models[2].placement.gpu_host_05",
    ]


def test_a_name_that_is_not_that_of_the_file_is_refused(lab: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lab["environment"] = "production"
    lab["country"] = "France"
    monkeypatch.setattr(loading_module, "sections_of_file", lambda _: ("stacks/Pulumi.lab.yaml", lab))
    with pytest.raises(SettingsError) as caught:
        load_platform("lab")
    assert [problem.path for problem in caught.value.problems] == ["llmaas:environment", "llmaas:country"]


def test_a_missing_file_names_the_environments_there_are() -> None:
    with pytest.raises(SettingsError, match=r"no such file; environments there are: .*lab, production"):
        load_platform("nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config:\n  llmaas:country: FR\n  llmaas:country: DE\n", "stack:3:3: key 'llmaas:country' stands twice"),
        ("config: {llmaas:site: {address: 1.1.1.1, address: 1.1.1.2}}", "key 'address' stands twice"),
        ("config:\n  aws:secretKey: hunter22\n  gitlab:token: x\n", "2 mistakes"),
        ("config:\n  llmaas:master_token: hunter22\n", "llmaas:master_token: is named like a secret"),
        ("config: [", "stack:1"),
        ("", "is missing; the description stands below one key config:"),
        ("config: 3", "is missing; the description stands below one key config:"),
        ("config: &a\n  llmaas:hosts: [*a]\n", "is no plain data"),
        ("config:\n  llmaas:x: !!python/object:os.system {}\n", "could not determine a constructor"),
    ],
)
def test_broken_yaml_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sections_of_text("stack", text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config: {}\nllmaas:alerts: {}\n", "llmaas:alerts: is no key of a stack file"),
        ("config: {country: FR}\n", "config.country: has no namespace; give llmaas:country"),
        ("config: {llmass:country: FR}\n", "llmass:country: is read by nobody; did you mean llmaas:country?"),
        ("config: {LLMaaS:country: FR}\n", "LLMaaS:country: is read by nobody"),
    ],
)
def test_a_key_that_nobody_would_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sections_of_text("stack", text)
    assert says in str(caught.value)


def test_a_secret_that_pulumi_encrypted_is_no_mistake() -> None:
    text = "config:\n  gitlab:token: {secure: v1:abc}\n  llmaas:country: FR\n"
    assert sections_of_text("stack", text) == {"country": "FR"}


def test_yaml_is_read_as_pulumi_reads_it() -> None:
    text = (
        "encryptionsalt: v1\nconfig:\n  other:key: 1\n  llmaas:a: [no, 1:30, 2026-08-01, 3, 0.5, 1e3, true, ~, 010]\n"
    )
    assert sections_of_text("stack", text) == {"a": ["no", "1:30", "2026-08-01", 3, 0.5, 1000.0, True, None, "010"]}
