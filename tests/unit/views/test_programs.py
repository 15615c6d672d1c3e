"""Configuration of the other programs, read by the programs themselves where they are on this machine."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmaas.settings import Platform, load_platform
from llmaas.views import data, litellm, prometheus, vllm
from llmaas.views.leaves import leaf_requests
from llmaas.views.litellm import TokenPrices
from tests.ports import free_port


@pytest.fixture(scope="module")
def proxy(platform: Platform) -> dict[str, Any]:
    prices = {model.name: TokenPrices(1800, 8000, 21000) for model in platform.models}
    loaded: dict[str, Any] = yaml.safe_load(litellm.configuration(platform, "/ca.crt", prices))
    return loaded


def test_litellm_serves_the_models_of_the_catalogue_and_no_other(proxy: dict[str, Any], platform: Platform) -> None:
    assert [entry["model_name"] for entry in proxy["model_list"]] == [model.name for model in platform.models]


def test_every_model_has_a_way_out_of_its_own_on_the_loopback(proxy: dict[str, Any]) -> None:
    bases = [entry["litellm_params"]["api_base"] for entry in proxy["model_list"]]
    assert len(set(bases)) == len(bases)
    assert all(base.startswith("http://127.0.0.1:91") for base in bases)


def test_prices_are_those_of_the_book_also_where_budgets_are_reserved(proxy: dict[str, Any]) -> None:
    for entry in proxy["model_list"]:
        info = entry["model_info"]
        for costs in (info, info["tiered_pricing"][0]):
            assert costs["input_cost_per_token"] == pytest.approx(1.8e-6)
            assert costs["output_cost_per_token"] == pytest.approx(8e-6)
            assert costs["output_cost_per_reasoning_token"] == pytest.approx(21e-6)


def test_no_prompt_is_stored_and_no_budget_is_passed_while_the_database_is_away(proxy: dict[str, Any]) -> None:
    general = proxy["general_settings"]
    assert general["store_prompts_in_spend_logs"] is False
    assert general["allow_requests_on_db_unavailable"] is False
    assert general["use_redis_transaction_buffer"] is True
    assert proxy["litellm_settings"]["turn_off_message_logging"] is True
    assert "cache" not in proxy["litellm_settings"]


def test_the_file_names_secrets_and_holds_none(proxy: dict[str, Any]) -> None:
    assert proxy["general_settings"]["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert proxy["router_settings"]["redis_password"] == "os.environ/REDIS_PASSWORD"
    assert proxy["general_settings"]["coordination_redis"]["password"] == "os.environ/REDIS_PASSWORD"


def test_redis_is_reached_over_tls_and_its_certificate_checked(proxy: dict[str, Any]) -> None:
    for place in (proxy["general_settings"]["coordination_redis"], proxy["router_settings"]["cache_kwargs"]):
        assert place["ssl"] is True
        assert place["ssl_cert_reqs"] == "required"
        assert place["ssl_check_hostname"] is True


def test_vllm_is_started_for_its_model_on_the_loopback(platform: Platform) -> None:
    arguments = vllm.arguments(platform, platform.model("granite3.3:8b"), "gpu-host-03")
    assert "--served-model-name=granite3.3:8b" in arguments
    assert "--host=127.0.0.1" in arguments
    assert "--max-model-len=1024" in arguments
    assert "--tensor-parallel-size=1" not in arguments


def test_vllm_goes_by_priority_where_calls_bring_one(platform: Platform) -> None:
    model = platform.model("granite3.3:8b")
    assert "--scheduling-policy=priority" in vllm.arguments(platform, model, "gpu-host-03")
    embeds = model.model_copy(update={"capabilities": ("embeddings",)})
    assert not [word for word in vllm.arguments(platform, embeds, "gpu-host-03") if "scheduling" in word]


def test_tools_and_reasoning_are_read_by_the_parsers_of_the_model(platform: Platform) -> None:
    model = platform.model("granite3.3:8b")
    plain = vllm.arguments(platform, model, "gpu-host-03")
    assert not [word for word in plain if "parser" in word or "tool" in word]
    sold = model.model_copy(update={"tool_parser": "granite", "reasoning_parser": "qwen3"})
    assert set(vllm.arguments(platform, sold, "gpu-host-03")) - set(plain) == {
        "--enable-auto-tool-choice",
        "--tool-call-parser=granite",
        "--reasoning-parser=qwen3",
    }


def test_every_model_of_production_that_is_sold_with_tools_answers_them() -> None:
    production = load_platform("production")
    selling = [model for model in production.models if "tools" in model.capabilities]
    assert len(selling) == 3
    for model in selling:
        words = vllm.arguments(production, model, next(iter(model.placement)))
        assert "--enable-auto-tool-choice" in words
        assert f"--tool-call-parser={model.tool_parser}" in words


def test_real_gpus_share_a_model_between_them(platform: Platform) -> None:
    host = platform.host("gpu-host-05")
    assert host.gpus is not None
    real = host.model_copy(update={"gpus": host.gpus.model_copy(update={"kind": "nvidia"})})
    changed = platform.model_copy(update={"hosts": (real,)})
    arguments = vllm.arguments(changed, platform.model("llama3.1:70b"), "gpu-host-05")
    assert "--tensor-parallel-size=4" in arguments
    assert "--gpu-memory-utilization=0.9" in arguments
    assert "--enforce-eager" not in arguments


def test_a_server_on_a_host_without_gpus_is_refused(platform: Platform) -> None:
    with pytest.raises(ValueError, match="which has no GPUs"):
        vllm.arguments(platform, platform.models[0], "control-01")


def test_every_certificate_has_names_and_serves_one_purpose(platform: Platform) -> None:
    requests = {request.name: request for request in leaf_requests(platform)}
    assert requests["edge"].addresses == ("10.77.0.21", "10.77.0.22")
    assert {"api.lab.llmaas.internal", "admin.lab.llmaas.internal"} <= set(requests["edge"].dns)
    assert {name for name, request in requests.items() if request.usage != "server"} == {
        "edge-client",
        "litellm",
        "prometheus",
    }


def test_the_database_is_reached_only_with_its_certificate_checked() -> None:
    assert data.database_url("secret").endswith(":5432/litellm?sslmode=verify-full")


def test_prometheus_reads_every_part_and_knows_it_by_its_certificate(platform: Platform) -> None:
    loaded = yaml.safe_load(prometheus.configuration(platform, "/certificate"))
    jobs = {job["job_name"]: job for job in loaded["scrape_configs"]}
    assert len(jobs) == 4 + 2 * len(platform.models)
    assert jobs["gateway"]["metrics_path"] == "/program-metrics"
    for name, job in jobs.items():
        assert job["scheme"] == "https"
        assert job["tls_config"]["min_version"] == "TLS13"
        # log hosts are asked, and known, by their addresses
        assert name == "log-hosts" or job["tls_config"]["server_name"].endswith(".svc.cluster.local")
    asked = [target for entry in jobs["log-hosts"]["static_configs"] for target in entry["targets"]]
    assert asked == ["10.77.0.30:9443", "10.77.0.31:9443"]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not on this machine")
def test_redis_answers_over_tls_1_3_with_the_password_alone(
    certificates: Path, tmp_path: Path, platform: Platform
) -> None:
    port = free_port()
    folder = certificates / "redis"
    (tmp_path / "password.conf").write_text(data.redis_password_file("secret"))
    text = data.redis_configuration(platform, str(folder)).replace(
        data.REDIS_AUTH_FILE, str(tmp_path / "password.conf")
    )
    text = text.replace(f"dir {data.REDIS_DATA}", f"dir {tmp_path}").replace("tls-port 6379", f"tls-port {port}")
    (tmp_path / "redis.conf").write_text(text)

    def ask(*options: str) -> str:
        command = ["redis-cli", "-h", "127.0.0.1", "-p", str(port), *options, "ping"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    tls = ("--tls", "--cacert", str(folder / "ca.crt"))
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(["redis-server", tmp_path / "redis.conf"], stdout=log, stderr=log)
    try:
        for _ in range(100):
            if ask(*tls, "-a", "secret").startswith("PONG"):
                break
            assert server.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        assert ask(*tls, "-a", "secret").startswith("PONG")
        assert "NOAUTH" in ask(*tls)
        assert "PONG" not in ask("-a", "secret")
        older = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2"]
        assert subprocess.run(older, check=False, capture_output=True, input=b"").returncode != 0
    finally:
        server.kill()
        server.wait()
        log.close()
