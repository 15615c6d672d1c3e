"""The proxy's program: LiteLLM prepares itself as it always does, then its application is served inside the gateway.

LiteLLM adds no middleware once it has started, and its own program leaves no room for one: its preparation runs with
``--skip_server_startup``, and the server is started here.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

import litellm
import uvicorn
from fastapi import FastAPI

from llmaas_gateway.audit.signing import KeyFormatError
from llmaas_gateway.lifecycle import LifecycleError
from llmaas_gateway.prices import PriceError
from llmaas_gateway.proxy import accounting, logs
from llmaas_gateway.proxy.garbage import spared_after_start
from llmaas_gateway.proxy.hook import GatewayHook, watch_streams
from llmaas_gateway.proxy.parts import Parts
from llmaas_gateway.proxy.settings import SettingsError, read_secrets, read_settings
from llmaas_gateway.proxy.wrapper import Gateway

# What LiteLLM tries to import with each call, and what the image does not have.
_OPTIONAL: Final = ("litellm.integrations.otel.logger", "litellm_enterprise")


def application(app: FastAPI) -> Gateway:
    """LiteLLM's application inside the gateway, by the settings that the environment names.

    Raises:
        SettingsError: the gateway is not configured, or wrongly.
        PriceError: the price book is wrong.
        KeyFormatError: the key of the audit is none.
        LifecycleError: the lifecycle file is wrong.
    """
    parts = Parts(read_settings(), read_secrets())
    litellm.logging_callback_manager.add_litellm_callback(
        GatewayHook(parts.admission, parts.audit.refusals, parts.over_limit, parts.precedence)
    )
    watch_streams()
    accounting.account_after_calls(parts.precedence)
    accounting.estimate_no_savings()
    accounting.count_limited_deployments_alone()
    return parts.wrap(app)


def _prepare(arguments: Sequence[str]) -> FastAPI:
    from litellm.proxy.proxy_cli import run_server  # noqa: PLC0415 - takes seconds; wrong arguments are told before

    run_server.main(
        args=[*arguments, "--telemetry", "False", "--skip_server_startup"], prog_name="proxy", standalone_mode=False
    )
    from litellm.proxy import proxy_server  # noqa: PLC0415 - as above

    app: FastAPI = proxy_server.app
    _remember_missing()
    return app


def _remember_missing() -> None:
    """Search for each once: Python remembers no import that failed, and runs the beginning of the module anew."""
    for name in _OPTIONAL:
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = None  # type: ignore[assignment]  # what import itself takes for "there is none"


def main(arguments: Sequence[str] | None = None, *, bare: bool = False) -> int:
    """Serve until told to stop.

    Args:
        arguments: LiteLLM's own.
        bare: serve LiteLLM without the gateway, all else equal, to measure what the gateway costs.

    Returns:
        The exit code: 2 for a gateway that is not configured or wrongly.
    """
    logs.configure()
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4000)
    known, _ = parser.parse_known_args(given)
    try:
        app = _prepare(given)
        served = app if bare else application(app)
    except (SettingsError, PriceError, KeyFormatError, LifecycleError) as error:
        print(f"the gateway cannot start: {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        spared_after_start(served),
        host=known.host,
        port=known.port,
        lifespan="on",
        access_log=False,
        server_header=False,
        log_level="warning",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
