"""LiteLLM's own sums are those of the answers, also of a replica that ends at once; what nobody needs is not done."""

import hashlib
import signal
from collections.abc import Callable

import pytest

from .client import ask
from .packages import told_by_script
from .stack import Proxy, Stack, running

_CALLS = 12
# as in the stack's configuration of LiteLLM
_INPUT_EUR, _OUTPUT_EUR = 1e-6, 1e-5


def test_a_replica_that_ends_leaves_no_answer_out_of_litellms_sums(
    stack: Stack, new_key: Callable[..., tuple[str, str]]
) -> None:
    _, key = new_key("open")
    replica, expected = Proxy(stack, "ended"), 0.0
    with running([replica]):
        for _ in range(_CALLS):
            usage = ask(replica, key).json()["usage"]
            expected += usage["prompt_tokens"] * _INPUT_EUR + usage["completion_tokens"] * _OUTPUT_EUR
        replica.end(signal.SIGTERM)
    with stack.postgres.connect() as connection:
        token = hashlib.sha256(key.encode()).hexdigest()
        (spent,) = connection.execute(
            'SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = %s', [token]
        ).fetchone() or (None,)
    assert spent == pytest.approx(expected)


def test_litellm_estimates_no_savings_and_counts_only_deployments_that_have_limits() -> None:
    told = told_by_script("accounting_script.py")
    assert told.pop("savings_before") > 0
    assert told == {"savings": 0, "free": False, "limited": True}
