import pytest
from standins.network_policy import truth_table

from lab.standins.network_policy_agent.resolution import allows
from lab.standins.network_policy_agent.world import World


@pytest.mark.parametrize("row", truth_table.rows(), ids=lambda row: row.name)
def test_the_verdict_function_agrees_with_the_table(row: truth_table.Row) -> None:
    wrong = [
        str(attempt)
        for attempt in row.attempts
        if allows(
            row.world,
            row.world.pods.get(attempt.source, attempt.source),
            row.world.pods.get(attempt.destination, attempt.destination),
            attempt.protocol,
            attempt.port,
        )
        is not attempt.allowed
    ]
    assert not wrong


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(truth_table.rows()) >= 40
    assert all(row.attempts for row in truth_table.rows())


def test_every_name_in_the_table_exists() -> None:
    known = set(truth_table.ends())
    used = {
        end for row in truth_table.rows() for attempt in row.attempts for end in (attempt.source, attempt.destination)
    }
    assert used <= known


def test_a_pod_may_always_reach_itself() -> None:
    world: World = next(row.world for row in truth_table.rows() if row.name.startswith("deny all both ways"))
    pod = world.pods["web/client"]
    assert allows(world, pod, pod, "TCP", 8080)
