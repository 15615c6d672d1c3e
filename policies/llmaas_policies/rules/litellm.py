"""LiteLLM: no text kept, nobody admitted unchecked, no model but those served here, nothing called home."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from llmaas_policies.model import MISSING, Parameters, Resource, Severity, Subject, Violation, get
from llmaas_policies.pods import variables_of
from llmaas_policies.rules.vllm import needs, programs, refused_options, refused_variables
from llmaas_policies.texts import files_of, parsed

subject = Subject()

_TOP: Final = re.compile(
    r"(?m)(?:^|[{,\s])[\"']?(?:model_list|litellm_settings|general_settings|router_settings)[\"']?\s*:"
)
_CALLS_OUT: Final = {
    "SENTRY_DSN": "sends errors with their requests",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "sends traces",
    "OTEL_ENDPOINT": "sends traces",
    "LANGFUSE_HOST": "sends prompts",
    "LANGFUSE_SECRET_KEY": "sends prompts",
    "LANGSMITH_API_KEY": "sends prompts",
    "DD_API_KEY": "sends logs",
    "SLACK_WEBHOOK_URL": "sends alerts",
    "LITELLM_LICENSE": "asks the makers' server",
    "HTTP_PROXY": "leads out",
    "HTTPS_PROXY": "leads out",
    "ALL_PROXY": "leads out",
}
_DEBUGGING: Final = {
    "LITELLM_DEBUG": "prompts would be in the log",
    "SET_VERBOSE": "prompts would be in the log",
    "DEBUG": "prompts would be in the log",
    "DETAILED_DEBUG": "prompts would be in the log",
    "LITELLM_CONFIG_BUCKET_NAME": "settings would stand where no rule looks",
    "STORE_MODEL_IN_DB": "settings of the database would override the file",
    "STORE_PROMPTS_IN_SPEND_LOGS": "prompts would be in the database",
}
_DEBUGGING_OPTIONS: Final = {
    "--debug": "prompts would be in the log",
    "--detailed-debug": "prompts would be in the log",
    "--model": "the configuration names the models",
    "--api-base": "the configuration names the models",
}


@subject.rule(
    "litellm-offline", "LiteLLM reports nothing to its makers and fetches no price map.", Severity.HIGH,
    ("SecNumCloud 3.2 19.6",), "Set LITELLM_TELEMETRY=False and LITELLM_LOCAL_MODEL_COST_MAP=True",
)  # fmt: skip
def litellm_offline(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A proxy that calls home names its tenants by their traffic."""
    for part in programs(resource, "litellm"):
        if isinstance(part, Violation):
            yield part
            continue
        wanted = {"LITELLM_TELEMETRY": {"false"}, "LITELLM_LOCAL_MODEL_COST_MAP": {"true"}}
        yield from needs(part, wanted, "LiteLLM must not call anybody")
        yield from refused_variables(part, _CALLS_OUT)


def _configurations(resource: Resource) -> Iterator[tuple[str, Any] | Violation]:
    """LiteLLM's configuration files in a ConfigMap or a Secret, parsed."""
    for found in files_of(resource):
        if isinstance(found, Violation):
            if resource.kind == "ConfigMap" or found.path.endswith((".yaml]", ".yml]", "data", "stringData")):
                yield Violation(found.path, "is not known at preview, so it may hold a configuration of LiteLLM")
            continue
        path, _, text = found
        if not _TOP.search(text):
            continue
        config = parsed(text)
        if config is MISSING:
            yield Violation(path, "is not YAML")
        elif isinstance(config, Mapping):
            yield path, config


_WANTED: Final = (
    ("litellm_settings", "turn_off_message_logging", True, "prompts would reach loggers"),
    ("litellm_settings", "telemetry", False, "it would call home"),
    ("general_settings", "store_prompts_in_spend_logs", False, "prompts would be in the database"),
    ("general_settings", "allow_requests_on_db_unavailable", False, "keys would pass unchecked"),
    ("general_settings", "store_model_in_db", False, "settings of the database would override the file"),
    ("general_settings", "disable_error_logs", True, "failed requests would be in the database"),
)
_MUST_BE_ABSENT: Final = (
    ("litellm_settings.set_verbose", "prompts would be in the log"),
    ("litellm_settings.s3_callback_params", "requests would be stored"),
    ("litellm_settings.service_callback", "requests would be reported"),
    ("litellm_settings.post_call_rules", "code of a file would see answers"),
    ("general_settings.alerting", "alerts with requests would be sent out"),
    ("general_settings.alert_to_webhook_url", "alerts with requests would be sent out"),
    ("general_settings.pass_through_endpoints", "requests would be led elsewhere"),
    ("general_settings.custom_auth", "keys would be checked by other code"),
    ("general_settings.public_routes", "routes would be open without a key"),
    ("general_settings.allow_client_side_credentials", "callers could lead their requests elsewhere"),
    ("litellm_settings.configurable_clientside_auth_params", "callers could lead their requests elsewhere"),
    ("general_settings.store_audit_logs", "values would be in the database"),
    ("litellm_settings.store_audit_logs", "values would be in the database"),
    ("litellm_settings.default_team_settings", "loggers of teams would see prompts"),
)
_SECTIONS: Final = {"model_list", "litellm_settings", "general_settings", "router_settings"}
_CALLBACKS: Final = ("callbacks", "success_callback", "failure_callback", "input_callback")


def _wrong_settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section, name, wanted, why in _WANTED:
        value = get(config, f"{section}.{name}")
        if value is not wanted:
            yield f"{section}.{name}", f"is {'missing' if value is MISSING else value}; it must be {wanted}, else {why}"
    for name in sorted(map(str, set(config) - _SECTIONS)):
        yield name, f"is a section that no rule judges; only {', '.join(sorted(_SECTIONS))} are"
    for path, why in _MUST_BE_ABSENT:
        value = get(config, path)
        if value is not MISSING and value not in (False, [], "", {}):
            yield path, f"is {value!r}: {why}"
    yield from _kept_or_open(config)


def _kept_or_open(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Loggers, the cache and the key without which everybody is let in."""
    for name in _CALLBACKS:
        value = get(config, f"litellm_settings.{name}")
        for callback in value if isinstance(value, list) else [] if value is MISSING else [value]:
            if not str(callback).startswith("llmaas_gateway."):
                yield f"litellm_settings.{name}", f"{callback!r} is a logger that is not the platform's own"
    master = get(config, "general_settings.master_key")
    if "general_settings" in config and not str(master).startswith("os.environ/"):
        yield "general_settings.master_key", "is not os.environ/…; without it everybody is let in"
    caching = get(config, "litellm_settings.cache")
    if caching not in (MISSING, False) and get(config, "litellm_settings.cache_params.supported_call_types") != []:
        yield "litellm_settings.cache_params.supported_call_types", "is not []; answers would be kept in the cache"


@subject.rule(
    "no-prompt-kept-by-litellm", "LiteLLM stores and logs no text, and admits nobody unchecked.", Severity.CRITICAL,
    ("SecNumCloud 3.2 19.2.a", "GDPR art. 5"), "Set the field as the message says",
)  # fmt: skip
def no_prompt_kept_by_litellm(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Most of them are off or on by default in some version; written out, they cannot change with an upgrade."""
    for found in _configurations(resource):
        if isinstance(found, Violation):
            yield found
        else:
            yield from (Violation(f"{found[0]}.{path}", text) for path, text in _wrong_settings(found[1]))
    for part in programs(resource, "litellm"):
        if isinstance(part, Violation):
            yield part
            continue
        yield from refused_variables(part, _DEBUGGING)
        yield from refused_options(part, _DEBUGGING_OPTIONS)
        if "LITELLM_LOG" in variables_of(part):
            levels = {"LITELLM_LOG": {"info", "warning", "error", "critical"}}
            yield from needs(part, levels, "prompts would be in the log")


def _is_here(address: Any) -> bool:
    """Whether an address is the loopback, or a service of the cluster by TLS."""
    try:
        parts = urlsplit(address) if isinstance(address, str) else urlsplit("")
    except ValueError:
        return False
    host = parts.hostname or ""
    if host.endswith((".svc", ".svc.cluster.local")):
        return parts.scheme == "https"
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _elsewhere(model: Any, where: str) -> Iterator[Violation]:
    """By what an entry of the model list leads elsewhere."""
    for name in ("api_base", "base_url"):
        address = get(model, f"litellm_params.{name}")
        if address is MISSING and name == "api_base":
            yield Violation(f"{where}.{name}", "is missing; it must be on the loopback")
        elif address is not MISSING and not _is_here(address):
            yield Violation(f"{where}.{name}", f"is {address}; it must be on the loopback, or in the cluster by TLS")
    if get(model, "litellm_params.configurable_clientside_auth_params") is not MISSING:
        yield Violation(f"{where}.configurable_clientside_auth_params", "lets callers lead their requests elsewhere")
    if "*" in str(get(model, "model_name")):
        yield Violation(f"{where.removesuffix('.litellm_params')}.model_name", "is a pattern; name each model")
    name, provider = get(model, "litellm_params.model"), get(model, "litellm_params.custom_llm_provider")
    if not str(name).startswith("hosted_vllm/"):
        yield Violation(f"{where}.model", f"is {name}; only hosted_vllm/ is served here")
    if provider not in (MISSING, "hosted_vllm"):
        yield Violation(f"{where}.custom_llm_provider", f"is {provider}; only hosted_vllm is served here")


@subject.rule(
    "models-served-here-only", "LiteLLM leads to the platform's own model servers and to no other provider.",
    Severity.CRITICAL, ("SecNumCloud 3.2 19.2.a", "SecNumCloud 3.2 19.6"),
    "Give every entry of model_list an api_base on the loopback, and drop what is not served here",
)  # fmt: skip
def models_served_here_only(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """An entry without api_base is a call to the provider's own servers, with the tenant's prompt in it."""
    for found in _configurations(resource):
        if isinstance(found, Violation):
            yield found
            continue
        path, config = found
        models = config.get("model_list")
        for index, model in enumerate(models if isinstance(models, list) else ()):
            yield from _elsewhere(model, f"{path}.model_list[{index}].litellm_params")
        if models is not None and not isinstance(models, list):
            yield Violation(f"{path}.model_list", "is no list")
