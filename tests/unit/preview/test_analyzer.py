"""The policy pack as the engine starts it: it learns the stack from the URN of a resource, and from nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from llmaas.paths import PROJECT_ROOT

NAMESPACE = "kubernetes:core/v1:Namespace"


@pytest.fixture(scope="module")
def analyzer() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    told = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI", "LLMAAS"))}
    command = [sys.executable, "-u", str(PROJECT_ROOT / "policies"), "127.0.0.1:1"]
    process = subprocess.Popen(command, env=told, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def request(stack: str, labels: dict[str, str]) -> analyzer_pb2.AnalyzeRequest:
    properties = struct_pb2.Struct()
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llmaas-data", "labels": labels}}
    properties.update(body)
    urn = f"urn:pulumi:{stack}::llmaas::{NAMESPACE}::data"
    return analyzer_pb2.AnalyzeRequest(type=NAMESPACE, urn=urn, name="data", properties=properties)


def test_every_policy_is_mandatory(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    from google.protobuf import empty_pb2  # noqa: PLC0415

    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == "llmaas"
    assert {policy.enforcementLevel for policy in info.policies} == {analyzer_pb2.MANDATORY}
    assert len(info.policies) >= 30


def test_what_breaks_a_rule_is_reported_for_the_stack_of_its_urn(analyzer: analyzer_pb2_grpc.AnalyzerStub) -> None:
    good = analyzer.Analyze(request("lab", {"pod-security.kubernetes.io/enforce": "restricted"}))
    assert [found.policyName for found in good.diagnostics] == []
    bad = analyzer.Analyze(request("production", {}))
    assert "pod-security-restricted" in {found.policyName for found in bad.diagnostics}
    assert {found.enforcementLevel for found in bad.diagnostics} == {analyzer_pb2.MANDATORY}


@pytest.mark.parametrize("stack", ["nowhere", "", "../lab"])
def test_a_stack_without_a_stack_file_passes_nothing(analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: str) -> None:
    with pytest.raises(grpc.RpcError, match="no such file"):
        analyzer.Analyze(request(stack, {"pod-security.kubernetes.io/enforce": "restricted"}))
