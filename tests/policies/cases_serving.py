"""What breaks the rules on TLS, secrets, vLLM, LiteLLM and the number of replicas."""

import base64
from typing import Any

from cases_workloads import INIT, MAIN, POD
from llmaas_policies.model import UNKNOWN
from objects import EDGE_CONFIG, LITELLM_CONFIG, REDIS_CONFIG

Case = tuple[str, str, Any]


def env(name: str, value: Any, target: str = "vllm-a", place: str = MAIN) -> Case:
    """One more variable of a container."""
    return (target, f"{place}/env/9", {"name": name, "value": value})


def from_map(name: str, target: str = "vllm-a") -> Case:
    return (target, f"{MAIN}/env/9", {"name": name, "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}})


def config(old: str, new: str) -> Case:
    assert old in LITELLM_CONFIG
    return ("litellm-config", "data/config.yaml", LITELLM_CONFIG.replace(old, new))


def text(content: str) -> Case:
    return ("litellm-config", "data/other.conf", content)


BAD: dict[str, list[Case]] = {
    "tls-1-3-only": [
        *(
            text(line)
            for line in (
                "bind :8443 ssl ssl-min-ver TLSv1.2",
                "bind :8443 ssl force-tlsv12",
                "bind :8443 ssl no-tlsv13",
                'tls-protocols "TLSv1.2 TLSv1.3"',
                "ssl_min_protocol_version = 'TLSv1.2'",
                "ssl_protocols TLSv1 TLSv1.3;",
                "min_version: TLS12",
                'tls_min_version: "1.2"',
                "minTLSVersion=1.1",
                "ssl_min_version: 0x0303",
                "minimum: TLS 1.2.",
                "options: TLS1_2_VERSION",
                "protocol: SSLv3",
                "tls: {minVersion: 1.2}",
                "minimum_version: '1.1'",
                "tls_min_version: 12",
            )
        ),
        ("litellm", f"{MAIN}/args", ["--tls-min-version=VersionTLS12"]),
        ("litellm", f"{MAIN}/args", ["--tls-min-version", "1.2"]),
        ("litellm", f"{MAIN}/command", ["--protocols", "TLSv1"]),
        env("PGSSLMINPROTOCOLVERSION", "TLSv1.1", "litellm"),
        ("litellm-config", "binaryData", {"x.cfg": base64.b64encode(b"ssl-min-ver TLSv1.2").decode()}),
    ],
    "tls-minimum-is-written": [
        (
            "edge-config",
            "data/haproxy.cfg",
            EDGE_CONFIG.replace("    ssl-default-bind-options ssl-min-ver TLSv1.3\n", ""),
        ),
        ("edge-config", "data/haproxy.cfg", EDGE_CONFIG.replace("bind :8444 ssl crt /run/tls.pem", "bind :8444")),
        ("edge-config", "data/haproxy.cfg", EDGE_CONFIG.replace("ssl-default-bind", "# ssl-default-bind")),
        ("redis-config", "data/redis.conf", REDIS_CONFIG.replace("port 0", "port 6379")),
        ("redis-config", "data/redis.conf", REDIS_CONFIG.replace("port 0", "port 0\nPORT 6379")),
        ("redis-config", "data/redis.conf", REDIS_CONFIG.replace('tls-protocols "TLSv1.3"\n', "")),
        (
            "edge-config",
            "data/haproxy.cfg",
            EDGE_CONFIG.replace("8443 ssl verify required ca-file /run/ca.crt", "8000"),
        ),
        ("secret", "stringData/haproxy.cfg", EDGE_CONFIG.replace("bind :8444 ssl crt /run/tls.pem", "bind :8444")),
        ("redis", f"{MAIN}/args", ["--port", "6379", "--tls-port", "0"]),
        text("tls_server_config:\n  cert_file: x\n"),
    ],
    "tls-is-checked": [
        *(
            text(line)
            for line in (
                "server a b:443 ssl verify none",
                "insecure_skip_verify: true",
                "litellm_ssl_verify: false",
                "ssl_cert_reqs: none",
                "redis_url: redis://redis.data:6379",
                "ssl = off",
                "url: postgresql://h/d?sslmode=require",
            )
        ),
        text("scrape_configs:\n- job_name: x\n  scheme: http\n"),
        env("VLLM_URL", "http://vllm.serving.svc:8000", "litellm"),
        ("litellm", f"{MAIN}/args", ["--upstream=http://10.0.0.7:8000"]),
        env("PGSSLMODE", "prefer", "litellm"),
        env("NODE_TLS_REJECT_UNAUTHORIZED", "0", "litellm"),
        ("litellm", f"{INIT}/args", ["sh", "-c", "curl -k https://redis"]),
    ],
    "no-plain-secret": [
        env("LITELLM_MASTER_KEY", "anything", "litellm"),
        env("PGPASSWORD", "x", "litellm", INIT),
        env("redis_password", "x", "litellm"),
        env("HF_TOKEN", "x"),
        *(env(name, "hunter22", "litellm") for name in ("DB_PWD", "POSTGRES_PASS", "ENCRYPTION_KEY", "REDIS_AUTH")),
        env("CONFIG", '{"password": "hunter22"}', "litellm"),
        env("CONFIG", "password: 12345", "litellm"),
        ("litellm", f"{MAIN}/livenessProbe", {"exec": {"command": ["redis-cli", "-a", "hunter22", "ping"]}}),
        ("litellm", f"{MAIN}/lifecycle/postStart", {"exec": {"command": ["sh", "-c", "PGPASSWORD=hunter22 psql"]}}),
        ("litellm", f"{MAIN}/args", ["--requirepass", "hunter22"]),
        ("litellm", f"{MAIN}/args", ["mysql", "-phunter22"]),
        ("litellm", f"{MAIN}/args", ["sh", "-c", "curl -u admin:hunter22 https://x"]),
        env("SOMETHING", "hf_" + "a" * 30),
        ("litellm", f"{MAIN}/args", ["--url", "postgresql://litellm:hunter22@postgres/litellm"]),
        ("litellm", f"{MAIN}/args", ["--url=redis://:pw@redis:6379"]),
        ("litellm", f"{MAIN}/args", ["--password", "hunter22"]),
        ("litellm", f"{MAIN}/args", ["--api_key=hunter22"]),
        ("litellm", f"{MAIN}/command", ["sh", "-c", "PGPASSWORD=hunter22 psql"]),
        ("litellm-config", "data/key.pem", "-----BEGIN EC PRIVATE KEY-----\nMHc=\n"),
        ("litellm-config", "data/key.txt", "sk-0123456789abcdef0123"),
        ("litellm-config", "data/LITELLM_MASTER_KEY", "hunter22"),
        config("os.environ/LITELLM_MASTER_KEY", "hunter22"),
        text("requirepass hunter22"),
        ("litellm", f"{MAIN}/args", ["--key", "sk-1234"]),
        ("litellm", f"{MAIN}/args", ["--db=postgresql://h/d?user=x&password=hunter22"]),
        text('{"auths": {"registry": {"auth": "dXNlcjpodW50ZXIyMg=="}}}'),
        text('basic_auth:\n  password: "hunter22"\n'),
        text("db_password = hunter22"),
        text("tokenizer_secret: hunter22"),
        text("token_sha256: 3a5285f2"),
        text("[db]\nuser=x\npass=hunter22\n"),
        text("host:5432:db:user:hunter22\n"),
        text("userlist u\n  user admin insecure-password hunter22\n"),
        text("ALTER ROLE litellm PASSWORD 'hunter22';\n"),
        text('{"a": {"clientSecret": "abc"}}'),
        ("litellm-config", "binaryData", {"x": base64.b64encode(b"password: hunter22").decode()}),
        ("litellm", "metadata/annotations", {"note": "sk-0123456789abcdef0123"}),
        ("litellm", "spec/template/metadata/annotations", {"note": "postgres://a:b@c"}),
        ("service", "metadata/annotations", {"admin-password": "hunter22"}),
        ("secret", "metadata/annotations", {"backup": "hvs.0123456789abcdef0123"}),
        (
            "litellm",
            f"{MAIN}/livenessProbe",
            {"httpGet": {"httpHeaders": [{"name": "x", "value": "Authorization: Bearer abcdefgh1234"}]}},
        ),
    ],
    "no-vllm-development-mode": [
        env("VLLM_SERVER_DEV_MODE", "1"),
        env("VLLM_SERVER_DEV_MODE", 1),
        env("vllm_server_dev_mode", "True"),
        from_map("VLLM_SERVER_DEV_MODE"),
        env("VLLM_ALLOW_INSECURE_SERIALIZATION", "true"),
        env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "yes"),
        ("vllm-a", f"{MAIN}/args", ["--worker-extension-cls", "x.Y"]),
        ("vllm-a", f"{MAIN}/args", ["--profiler-config.torch_profiler_dir=/tmp"]),
    ],
    "no-vllm-request-logging-or-remote-code": [
        *(
            ("vllm-a", f"{MAIN}/args", [argument])
            for argument in (
                "--trust-remote-code",
                "--trust_remote_code=true",
                "--trust-remote",
                "--enable-log-requests",
                "--enable_log_outputs",
                "--config=/etc/vllm.yaml",
                "--logits-processors=x:Y",
                "--worker-cls=x.Y",
                "--tool-parser-plugin=/tmp/x.py",
                "--reasoning-parser-plugin=/tmp/x.py",
                "--reasoning-parser-p=/tmp/x.py",
                '--kv-events-config={"publisher": "zmq"}',
                "--uvicorn-log-level=debug",
            )
        ),
        ("vllm-a", f"{MAIN}/command", ["sh", "-c", "exec vllm serve /models --trust-remote-code"]),
        env("VLLM_LOGGING_LEVEL", "debug"),
        env("LD_PRELOAD", "/models/x.so"),
    ],
    "vllm-offline": [
        ("vllm-a", f"{MAIN}/env", []),
        ("vllm-a", f"{MAIN}/env/0", {"name": "HF_HUB_OFFLINE", "value": "0"}),
        env("HF_HUB_OFFLINE", "0"),
        from_map("VLLM_NO_USAGE_STATS"),
        env("HF_ENDPOINT", "https://hf-mirror.com"),
        env("https_proxy", "http://10.0.0.7:3128"),
        env("VLLM_USE_MODELSCOPE", "True"),
        ("vllm-a", f"{MAIN}/args", ["--host=127.0.0.1", "--model=meta-llama/Llama-3.1-8B"]),
        ("vllm-a", f"{MAIN}/args", ["--host=127.0.0.1", "--otlp-traces-endpoint", "http://x"]),
        ("vllm-a", f"{MAIN}/args", ["serve", "meta-llama/Llama-3.1-8B", "--host=127.0.0.1"]),
    ],
    "plain-http-on-loopback-only": [
        ("vllm-a", f"{MAIN}/args", ["--model=/models", "--host=0.0.0.0"]),
        ("vllm-a", f"{MAIN}/args", ["--model=/models", "--host", "::"]),
        ("vllm-a", f"{MAIN}/args", ["--model=/models"]),
        ("litellm", f"{MAIN}/args", ["--host=127.0.0.1", "--host=0.0.0.0"]),
    ],
    "litellm-offline": [
        ("litellm", f"{MAIN}/env/0", {"name": "LITELLM_TELEMETRY", "value": "True"}),
        ("litellm", f"{MAIN}/env", []),
        env("SENTRY_DSN", "https://o1.ingest.sentry.io/1", "litellm"),
        from_map("LITELLM_TELEMETRY", "litellm"),
    ],
    "no-prompt-kept-by-litellm": [
        ("litellm-config", "data/config.yaml", "litellm_settings: {telemetry: false}"),
        ("litellm-config", "data/config.yaml", '{"model_list": []}'),
        ("litellm-config", "data/config.yaml", "litellm_settings: ["),
        config("store_prompts_in_spend_logs: false", "store_prompts_in_spend_logs: true"),
        config("turn_off_message_logging: true", "turn_off_message_logging: 'true'"),
        config("store_model_in_db: false", "store_model_in_db: true"),
        config("telemetry: false", "telemetry: false, success_callback: [langfuse]"),
        config("telemetry: false", "telemetry: false, callbacks: otel"),
        config("supported_call_types: []", "supported_call_types: [acompletion]"),
        config("disable_error_logs: true", "disable_error_logs: true, alerting: [slack]"),
        config("disable_error_logs: true", "disable_error_logs: true, public_routes: [/key/generate]"),
        config("disable_error_logs: true", "disable_error_logs: true, allow_client_side_credentials: true"),
        config(", master_key: os.environ/LITELLM_MASTER_KEY", ""),
        *(
            ("litellm-config", "data/config.yaml", f"{LITELLM_CONFIG}{more}\n")
            for more in ("include: [x.yaml]", "environment_variables: {A: b}", "guardrails: []", "mcp_servers: {}")
        ),
        config("telemetry: false", "telemetry: false, default_team_settings: [{success_callback: [langfuse]}]"),
        env("DETAILED_DEBUG", "True", "litellm"),
        env("LITELLM_CONFIG_BUCKET_NAME", "bucket", "litellm"),
        ("secret", "data", {"c": base64.b64encode(b"general_settings: {store_prompts_in_spend_logs: true}").decode()}),
        env("LITELLM_LOG", "DEBUG", "litellm"),
        ("litellm", f"{MAIN}/args", ["--host=127.0.0.1", "--detailed_debug"]),
    ],
    "models-served-here-only": [
        config("http://127.0.0.1:9101/v1", "https://api.openai.com/v1"),
        config(', api_base: "http://127.0.0.1:9101/v1"', ""),
        config("hosted_vllm/granite", "openai/gpt-4o"),
        config("http://127.0.0.1:9101/v1", "http://127.0.0.1.evil.example/v1"),
        config("http://127.0.0.1:9101/v1", "os.environ/API_BASE"),
        config("http://127.0.0.1:9101/v1", "https://127.0.0.1@evil.example/v1"),
        config("http://127.0.0.1:9101/v1", "http://vllm.serving.svc:8000/v1"),
        config("http://127.0.0.1:9101/v1", "http://[127.0.0.1/v1"),
        config("hosted_vllm/granite,", "hosted_vllm/granite, base_url: 'https://api.openai.com',"),
        config("hosted_vllm/granite,", "hosted_vllm/granite, custom_llm_provider: openai,"),
        ("litellm-config", "data/config.yaml", "model_list: {a: b}"),
        config("model_name: granite,", "model_name: '*',"),
        config("hosted_vllm/granite,", "hosted_vllm/granite, configurable_clientside_auth_params: [api_base],"),
    ],
    "stable-model-survives-a-host": [
        ("vllm-b", "spec/template/metadata/labels", {}),
        ("vllm-b", "spec/replicas", 0.0),
        ("vllm-b", f"{POD}/nodeSelector", {"kubernetes.io/hostname": "gpu-1"}),
        ("vllm-b", f"{POD}/nodeName", "gpu-1"),
        ("vllm-b", f"{POD}/nodeSelector", {"zone": "a"}),
        ("vllm-b", "kind", "Job"),
    ],
    "stable-model-has-disruption-budget": [
        ("budget", "spec/selector/matchLabels", {"llmaas.io/model": "other"}),
        ("budget", "spec/selector/matchLabels", {"llmaas.io/model": "granite", "app": "other"}),
        ("budget", "metadata/namespace", "gateway"),
        ("budget", "spec/minAvailable", 0.0),
        ("budget", "spec/minAvailable", "0%"),
        ("budget", "spec", {"maxUnavailable": "100%", "selector": {"matchLabels": {"llmaas.io/model": "granite"}}}),
        ("budget", "spec", {"maxUnavailable": 2.0, "selector": {"matchLabels": {"llmaas.io/model": "granite"}}}),
    ],
}

UNKNOWN_AT_PREVIEW: dict[str, Case] = {
    "tls-1-3-only": ("litellm", f"{MAIN}/args", UNKNOWN),
    "tls-minimum-is-written": ("redis-config", "data/redis.conf", UNKNOWN),
    "tls-is-checked": ("litellm", f"{MAIN}/env/0", UNKNOWN),
    "no-plain-secret": ("litellm", f"{MAIN}/env", UNKNOWN),
    "no-vllm-development-mode": ("vllm-a", f"{MAIN}/env", UNKNOWN),
    "no-vllm-request-logging-or-remote-code": ("vllm-a", f"{MAIN}/args/0", UNKNOWN),
    "vllm-offline": ("vllm-a", f"{MAIN}/env/0", UNKNOWN),
    "plain-http-on-loopback-only": ("vllm-a", f"{MAIN}/args/0", UNKNOWN),
    "litellm-offline": ("litellm", f"{MAIN}/env/0", {"name": "LITELLM_TELEMETRY", "value": UNKNOWN}),
    "no-prompt-kept-by-litellm": ("litellm-config", "data", UNKNOWN),
    "models-served-here-only": ("litellm-config", "data/config.yaml", UNKNOWN),
    "stable-model-survives-a-host": ("vllm-b", "spec/replicas", UNKNOWN),
    "stable-model-has-disruption-budget": ("budget", "spec/selector", UNKNOWN),
}
