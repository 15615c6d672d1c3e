"""vLLM and LiteLLM: no development doors, no prompt kept, nothing called home."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, arguments_of, containers_of, environment_of, program_of

subject = Subject()
_FALSE: Final = {"0", "false", "no", "off", ""}
_REFUSED_ARGUMENTS: Final = {
    "--trust-remote-code": "code that comes with weights must never run",
    "--enable-log-requests": "prompts would be in the log",
    "--enable-log-outputs": "answers would be in the log",
    "--allow-credentials": "browsers have no business here",
    "--enable-prompt-tokens-details-debug": "debugging shows prompts",
}


def _programs(resource: Resource, name: str) -> Iterator[Part | Violation]:
    for part in containers_of(resource):
        if isinstance(part, Violation) or program_of(part) == name:
            yield part


def _variables(container: Part) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in environment_of(container):
        if isinstance(variable, Violation):
            return {"": UNKNOWN}
        found[str(variable.get("name"))] = variable.get("value")
    return found


def _needs(container: Part, wanted: Mapping[str, set[str]], why: str) -> Iterator[Violation]:
    variables = _variables(container)
    for name, values in wanted.items():
        value = variables.get(name, MISSING)
        if value is MISSING or value is UNKNOWN or str(value).lower() not in values:
            shown = "missing" if value is MISSING else "not known at preview" if value is UNKNOWN else repr(value)
            yield Violation(f"{container.path}.env[{name}]", f"is {shown}; {why}")


@subject.rule(
    "no-vllm-development-mode", "vLLM runs without its development endpoints.", Severity.CRITICAL,
    ("SecNumCloud 3.2 14.6.a",), "Remove VLLM_SERVER_DEV_MODE and VLLM_ALLOW_RUNTIME_LORA_UPDATING",
)  # fmt: skip
def no_vllm_development_mode(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """The mode opens /collective_rpc, which runs what it is sent."""
    for part in _programs(resource, "vllm"):
        if isinstance(part, Violation):
            yield part
            continue
        variables = _variables(part)
        for name in ("VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_ALLOW_INSECURE_SERIALIZATION"):
            value = variables.get(name, MISSING)
            if "" in variables or value is UNKNOWN or (value is not MISSING and str(value).lower() not in _FALSE):
                yield Violation(f"{part.path}.env[{name}]", "must not be set")


@subject.rule(
    "no-vllm-request-logging-or-remote-code", "vLLM neither logs requests nor runs code that comes with weights.",
    Severity.CRITICAL, ("ANSSI GenAI R6", "SecNumCloud 3.2 19.2.a"), "Remove the argument",
)  # fmt: skip
def no_vllm_request_logging_or_remote_code(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A prompt in a log is a prompt kept."""
    for part in _programs(resource, "vllm"):
        if isinstance(part, Violation):
            yield part
            continue
        for argument in arguments_of(part):
            if isinstance(argument, Violation):
                yield argument
                continue
            name = argument.split("=")[0].replace("_", "-")
            if name in _REFUSED_ARGUMENTS:
                yield Violation(f"{part.path}.args", f"{argument}: {_REFUSED_ARGUMENTS[name]}")


@subject.rule(
    "vllm-offline", "vLLM neither fetches from a hub nor reports its use.", Severity.HIGH,
    ("SecNumCloud 3.2 19.6", "ANSSI GenAI R13"),
    "Set HF_HUB_OFFLINE=1, TRANSFORMERS_OFFLINE=1 and VLLM_NO_USAGE_STATS=1",
)  # fmt: skip
def vllm_offline(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Weights come from the site's artefact store, checked by their digests."""
    yes = {"1", "true"}
    for part in _programs(resource, "vllm"):
        if isinstance(part, Violation):
            yield part
        else:
            wanted = {"HF_HUB_OFFLINE": yes, "TRANSFORMERS_OFFLINE": yes, "VLLM_NO_USAGE_STATS": yes}
            yield from _needs(part, wanted, "vLLM must not call anybody")


@subject.rule(
    "litellm-offline", "LiteLLM reports nothing to its makers and fetches no price map.", Severity.HIGH,
    ("SecNumCloud 3.2 19.6",), "Set LITELLM_TELEMETRY=False and LITELLM_LOCAL_MODEL_COST_MAP=True",
)  # fmt: skip
def litellm_offline(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A proxy that calls home names its tenants by their traffic."""
    for part in _programs(resource, "litellm"):
        if isinstance(part, Violation):
            yield part
        elif part.get("args") != ["migrate"]:
            wanted = {"LITELLM_TELEMETRY": {"false"}, "LITELLM_LOCAL_MODEL_COST_MAP": {"true"}}
            yield from _needs(part, wanted, "LiteLLM must not call anybody")


def _litellm_configurations(resource: Resource) -> Iterator[tuple[str, Any] | Violation]:
    """LiteLLM's configuration files in a ConfigMap or a Secret, parsed."""
    if resource.kind not in {"ConfigMap", "Secret"}:
        return
    for field in ("data", "stringData"):
        data = resource.get(field)
        if data is UNKNOWN:
            yield Violation(field, "is not known at preview, so it may hold a configuration of LiteLLM")
        for name, text in data.items() if isinstance(data, Mapping) else ():
            if text is UNKNOWN and str(name).endswith((".yaml", ".yml")):
                yield Violation(f"{field}[{name}]", "is not known at preview")
            if not isinstance(text, str) or "litellm_settings" not in text:
                continue
            try:
                yield f"{field}[{name}]", yaml.safe_load(text)
            except yaml.YAMLError:
                yield Violation(f"{field}[{name}]", "is not YAML")


_WANTED: Final = (
    ("litellm_settings", "turn_off_message_logging", True, "prompts would reach loggers"),
    ("litellm_settings", "telemetry", False, "it would call home"),
    ("general_settings", "store_prompts_in_spend_logs", False, "prompts would be in the database"),
    ("general_settings", "allow_requests_on_db_unavailable", False, "keys would pass unchecked"),
)


@subject.rule(
    "no-prompt-kept-by-litellm", "LiteLLM stores and logs no text, and admits nobody unchecked.", Severity.CRITICAL,
    ("SecNumCloud 3.2 19.2.a", "GDPR art. 5"), "Set the four fields as the message says",
)  # fmt: skip
def no_prompt_kept_by_litellm(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Each of the four is off or on by default in some version; written out, it cannot change with an upgrade."""
    for found in _litellm_configurations(resource):
        if isinstance(found, Violation):
            yield found
            continue
        path, config = found
        for section, name, wanted, why in _WANTED:
            value = (config.get(section) or {}).get(name, MISSING) if isinstance(config, Mapping) else MISSING
            if value is not wanted:
                shown = "missing" if value is MISSING else value
                yield Violation(f"{path}.{section}.{name}", f"is {shown}; it must be {wanted}, else {why}")
