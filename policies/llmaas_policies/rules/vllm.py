"""vLLM: no development doors, no prompt in a log, no code that comes with weights, nothing called home."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, options_of, programs_of, variables_of, words_of

subject = Subject()

FALSE: Final = {"0", "false", "no", "off", ""}
_YES: Final = {"1", "true"}
_DOORS: Final = {
    "VLLM_SERVER_DEV_MODE": "opens /collective_rpc, /sleep and /reset_prefix_cache",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "lets callers load weights",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "takes pickled code",
    "VLLM_TORCH_PROFILER_DIR": "opens /start_profile",
    "VLLM_TORCH_CUDA_PROFILE": "opens /start_profile",
    "VLLM_PLUGINS": "loads code that is not of the image's own choice",
}
_DOOR_OPTIONS: Final = {
    "--worker-extension-cls": "adds remote procedures to the workers",
    "--profiler-config": "opens /start_profile",
    "--allowed-local-media-path": "lets callers read files of the pod",
    "--middleware": "puts other code in front of every request",
    "--enable-prompt-embeds": "lets callers send pickled tensors",
}
_LOGGING: Final = {
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "answers would be in the log",
    "VLLM_DEBUG_DUMP_PATH": "what is computed would be in files",
    "LD_PRELOAD": "loads other code",
    "PYTHONSTARTUP": "loads other code",
    "VLLM_TRACE_FUNCTION": "every call would be in a file",
    "VLLM_LOGGING_CONFIG_PATH": "what is logged would stand where no rule looks",
}
_LOGGING_OPTIONS: Final = {
    "--trust-remote-code": "code that comes with weights must never run",
    "--enable-log-requests": "prompts would be in the log",
    "--enable-log-outputs": "answers would be in the log",
    "--log-config-file": "what is logged would stand where no rule looks",
    "--code-revision": "code that comes with weights must never run",
    "--config": "options would stand where no rule looks",
    "--tool-parser-plugin": "loads code from a file",
    "--reasoning-parser-plugin": "loads code from a file",
    "--logits-processors": "loads code by its name",
    "--logits-processor-pattern": "loads code that callers name",
    "--io-processor-plugin": "loads code by its name",
    "--scheduler-cls": "loads code by its name",
    "--worker-cls": "loads code by its name",
    "--enable-log-deltas": "answers would be in the log",
    "--kv-events-config": "tokens of prompts would be published",
}
_CALLS_OUT: Final = {
    "HF_ENDPOINT": "names a hub",
    "HF_TOKEN": "is a key to a hub",
    "HUGGING_FACE_HUB_TOKEN": "is a key to a hub",
    "VLLM_USE_MODELSCOPE": "fetches from a hub",
    "VLLM_USAGE_STATS_SERVER": "reports use",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "sends traces",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "sends traces",
    "HTTP_PROXY": "leads out",
    "HTTPS_PROXY": "leads out",
    "ALL_PROXY": "leads out",
}
_CALLS_OUT_OPTIONS: Final = {
    "--otlp-traces-endpoint": "sends traces",
    "--collect-detailed-traces": "sends traces",
    "--hf-token": "is a key to a hub",
    "--lora-modules": "names weights that are not of the catalogue",
}
_LEAST_ABBREVIATION: Final = len("--trust-")
# a whole word of its own, and not the beginning of a refused one
_OWN_WORDS: Final = {"--enable-prompt", "--allowed-origins", "--config-format", "--reasoning-parser"}


def programs(resource: Resource, name: str) -> Iterator[Part | Violation]:
    """The containers that run a program; a violation for each that cannot be seen."""
    for part in containers_of(resource):
        if isinstance(part, Violation) or name in programs_of(part):
            yield part


def needs(container: Part, wanted: Mapping[str, set[str]], why: str) -> Iterator[Violation]:
    """A violation for each variable that does not have one of its wanted values, every time that it is set."""
    variables = variables_of(container)
    for name, values in wanted.items():
        for value in variables.get(name, [MISSING]):
            if value is MISSING or value is UNKNOWN or str(value).lower() not in values:
                shown = "missing" if value is MISSING else "not known at preview" if value is UNKNOWN else repr(value)
                yield Violation(f"{container.path}.env[{name}]", f"is {shown}; {why}")


def refused_variables(container: Part, refused: Mapping[str, str]) -> Iterator[Violation]:
    """A violation for each variable that is set to anything but false."""
    variables = {name.upper(): values for name, values in variables_of(container).items()}
    if "" in variables:
        yield Violation(f"{container.path}.env", "is not known at preview")
    for name, why in refused.items():
        for value in variables.get(name, ()):
            if value is UNKNOWN or (value is not MISSING and str(value).lower() not in FALSE):
                yield Violation(f"{container.path}.env[{name}]", f"must not be set: it {why}")


def refused_options(container: Part, refused: Mapping[str, str]) -> Iterator[Violation]:
    """A violation for each refused option, also when it is abbreviated or set to a value."""
    for option in options_of(container):
        if isinstance(option, Violation):
            yield option
            continue
        path, name, _ = option
        for full, why in refused.items():
            short = len(name) >= _LEAST_ABBREVIATION and full.startswith(name) and name not in _OWN_WORDS
            if name == full or short or name.startswith(f"{full}."):
                yield Violation(path, f"{name} must not be set: {why}")


@subject.rule(
    "no-vllm-development-mode", "vLLM runs without its development endpoints.", Severity.CRITICAL,
    ("SecNumCloud 3.2 14.6.a",), "Remove the variable or the argument",
)  # fmt: skip
def no_vllm_development_mode(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """The mode opens /collective_rpc, which runs what it is sent."""
    for part in programs(resource, "vllm"):
        if isinstance(part, Violation):
            yield part
        else:
            yield from refused_variables(part, _DOORS)
            yield from refused_options(part, _DOOR_OPTIONS)


@subject.rule(
    "no-vllm-request-logging-or-remote-code", "vLLM neither logs requests nor runs code that comes with weights.",
    Severity.CRITICAL, ("ANSSI GenAI R6", "SecNumCloud 3.2 19.2.a"), "Remove the argument or the variable",
)  # fmt: skip
def no_vllm_request_logging_or_remote_code(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A prompt in a log is a prompt kept; some versions log it at the level DEBUG."""
    for part in programs(resource, "vllm"):
        if isinstance(part, Violation):
            yield part
            continue
        yield from refused_options(part, _LOGGING_OPTIONS)
        yield from refused_variables(part, _LOGGING)
        yield from _debugging(part)


def _debugging(part: Part) -> Iterator[Violation]:
    """Levels at which prompts are logged."""
    for option in options_of(part):
        if not isinstance(option, Violation) and option[1] == "--uvicorn-log-level" and option[2] in {"debug", "trace"}:
            yield Violation(option[0], f"{option[1]} is {option[2]}; requests would be in the log")
    for value in variables_of(part).get("VLLM_LOGGING_LEVEL", ()):
        if str(value).upper() not in {"INFO", "WARNING", "ERROR", "CRITICAL"}:
            yield Violation(f"{part.path}.env[VLLM_LOGGING_LEVEL]", f"is {value!r}; prompts would be in the log")


def _model_is_a_path(container: Part) -> Iterator[Violation]:
    words = [found for found in words_of(container) if not isinstance(found, Violation)]
    for (_, word), (path, following) in pairwise(words):
        if word == "serve" and not following.startswith(("/", "-")):
            yield Violation(path, f"serves {following}; it must be a folder, not a name of a hub")
    for option in options_of(container):
        if not isinstance(option, Violation) and option[1] in {
            "--model",
            "--tokenizer",
            "--hf-config-path",
            "--chat-template",
        }:
            path, name, value = option
            if not value.startswith("/"):
                yield Violation(path, f"{name} is {value or 'missing'}; it must be a folder, not a name of a hub")


@subject.rule(
    "vllm-offline", "vLLM neither fetches from a hub nor reports its use.", Severity.HIGH,
    ("SecNumCloud 3.2 19.6", "ANSSI GenAI R13"),
    "Set HF_HUB_OFFLINE=1, TRANSFORMERS_OFFLINE=1 and VLLM_NO_USAGE_STATS=1, and give --model as a folder",
)  # fmt: skip
def vllm_offline(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Weights come from the site's artefact store, checked by their digests."""
    for part in programs(resource, "vllm"):
        if isinstance(part, Violation):
            yield part
            continue
        wanted: dict[str, Any] = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS"), _YES)
        yield from needs(part, wanted, "vLLM must not call anybody")
        yield from refused_variables(part, _CALLS_OUT)
        yield from refused_options(part, _CALLS_OUT_OPTIONS)
        yield from _model_is_a_path(part)
