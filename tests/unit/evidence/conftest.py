from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from llmaas_gateway.audit.signing import EVIDENCE, Signer
from unit.evidence.sample import evidence_of, run_sample

from llmaas.evidence import gathering
from llmaas.evidence.assembly import Evidence
from llmaas.verify import Verdict


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state of its own: the lab's is neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("LLMAAS_STATE", str(folder))
        # the lab's exceptions from the hardening have their days
        patch.setattr(gathering, "now", lambda: datetime(2026, 11, 25, 12, tzinfo=UTC))
        yield folder


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """What the real runner recorded of the sample's checks."""
    return run_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.from_secret("A" * 43, EVIDENCE)


@pytest.fixture(scope="session")
def evidence(sample: Verdict, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of(tmp_path_factory.mktemp("evidence"), sample, signer.key)
