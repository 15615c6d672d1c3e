"""Runs one Pulumi program in a process of its own, started by the language host.

Configuration comes in the environment, as the SDK expects it (`PULUMI_CONFIG`, `PULUMI_CONFIG_SECRET_KEYS`);
what to run and where comes as one JSON argument.
"""

import asyncio
import json
import logging
import os
import runpy
import sys
import traceback
from typing import Any

import pulumi
from pulumi import runtime

from lab.standins.plugin_server import end_with_parent

ALREADY_REPORTED = 32
"""Exit status that says: the error was shown to the user, the engine need not add its own."""


def _configure(run: dict[str, Any]) -> None:
    runtime.set_all_config(runtime.get_config_env(), runtime.get_config_secret_keys_env())
    runtime.configure(
        runtime.Settings(
            project=run["project"],
            stack=run["stack"],
            monitor=run["monitor"],
            engine=run["engine"],
            parallel=run["parallel"],
            dry_run=run["dry_run"],
            organization=run["organization"],
            root_directory=run["root_directory"],
        )
    )


def _run_program(program: str) -> int:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # A failed program leaves futures that nobody awaits; asyncio's complaints about them would hide the real error.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def body() -> None:
        runpy.run_path(program, run_name="__main__")

    try:
        loop.run_until_complete(runtime.run_in_stack(body))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return ALREADY_REPORTED
    except Exception:  # noqa: BLE001 - whatever the program raised is shown to its author
        pulumi.log.error(f"Program failed with an unhandled exception:\n{traceback.format_exc()}")
        return ALREADY_REPORTED
    finally:
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main() -> None:
    """Run the program that the language host named."""
    end_with_parent()
    run = json.loads(sys.argv[1])
    _configure(run)
    sys.argv = [run["program"], *run["arguments"]]
    # A program imports the modules beside it, not those beside this file.
    sys.path[0] = run["program"] if os.path.isdir(run["program"]) else os.path.dirname(run["program"])  # noqa: PTH112, PTH120
    sys.exit(_run_program(run["program"]))


if __name__ == "__main__":
    main()
