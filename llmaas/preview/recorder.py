"""What the program declares, without an engine and without a cluster: Pulumi's own mocks, which keep every resource."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import pulumi
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks

# how Pulumi marks a secret among the inputs
_SECRET_MARK: Final = "4dabf18193072939515e22adb298388d"  # noqa: S105 - a signature that the SDK publishes


@dataclass(frozen=True)
class Declared:
    """One resource as the program declared it; secrets stand in ``inputs`` as they are."""

    type: str
    name: str
    inputs: dict[str, Any]

    @property
    def kind(self) -> str:
        """The last part of Pulumi's type token, such as ``Deployment``."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def namespace(self) -> str:
        """Of a Kubernetes object; ``None`` as text for one without."""
        return str(self.inputs["metadata"].get("namespace"))

    @property
    def pod(self) -> dict[str, Any]:
        """The pod specification of a workload."""
        return dict(self.inputs["spec"]["template"]["spec"])


class _Recorder(Mocks):
    def __init__(self) -> None:
        self.declared: list[Declared] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.declared.append(Declared(args.typ, args.name, _plain(args.inputs)))
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: MockCallArgs) -> NoReturn:
        raise NotImplementedError(f"{args.token} asks a cluster, and a recording has none")


def _plain(value: Any) -> Any:
    """Without the wrapping of secrets, so that one sees what would be sent."""
    if isinstance(value, dict):
        if _SECRET_MARK in value:
            return _plain(value["value"])
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def record(program: Callable[[], None], stack: str) -> list[Declared]:
    """Run a Pulumi program against mocks and return what it declared, in a fixed order.

    Pulumi keeps its mocks for the whole process, so a process that records deploys nothing afterwards.
    """
    # Pulumi's mocks want a loop to be there; whoever ran asyncio before leaves none.
    asyncio.set_event_loop(asyncio.new_event_loop())
    recorder = _Recorder()
    pulumi.runtime.set_mocks(recorder, project="llmaas", stack=stack)
    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    return sorted(recorder.declared, key=lambda each: (each.type, each.name))
