"""Mitogen's linear strategy, found by its name: connections keep one Python running on each host."""

import gc
from typing import Any, Final

from ansible._internal import _task
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult
from ansible.plugins.loader import filter_loader, get_plugin_loader_namespace, test_loader
from ansible.utils.fqcn import add_internal_fqcns
from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule as MitogenLinear

__all__ = ["StrategyModule"]

# They ask nothing of a host and wait for nothing.
_COMPUTED: Final = frozenset(
    add_internal_fqcns(
        ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact", "validate_argument_spec")
    )
)


class StrategyModule(MitogenLinear):
    """Mitogen's, with cheaper workers, forked from this process for each task of each host, and fewer of them."""

    def run(self, *arguments: Any, **named: Any) -> Any:
        """Find Jinja's filters and tests here and once; a worker that found none would look for them anew."""
        for loader in (filter_loader, test_loader):
            for _ in loader.all():
                pass
        return super().run(*arguments, **named)

    def _queue_task(self, host: Any, task: Any, task_vars: Any, play_context: Any) -> None:
        if task.action in _COMPUTED:
            self._compute(host, task, task_vars, play_context)
            return
        # a worker's garbage collector would touch, and so copy, all memory that it shares with this process
        gc.freeze()
        super()._queue_task(host, task, task_vars, play_context)

    def _compute(self, host: Any, task: Any, task_vars: Any, play_context: Any) -> None:
        """Do here what a worker does, with a task of its own as a worker has one.

        As ``StrategyBase._queue_task`` and ``WorkerProcess._run`` of ansible-core 2.19 have it.
        """
        # ansible-core has no public names for a task's id and what it stands in
        self._queued_task_cache[(host.name, task._uuid)] = {  # noqa: SLF001
            "host": host,
            "task": task,
            "task_vars": task_vars,
            "play_context": play_context,
        }
        self._tqm.send_callback("v2_runner_on_start", host, task)
        own = task.copy(exclude_parent=True, exclude_tasks=True)
        own._parent = task._parent  # noqa: SLF001
        with _task.TaskContext(own):
            result = TaskExecutor(
                host,
                own,
                task_vars,
                play_context,
                self._loader,
                get_plugin_loader_namespace(),
                self._final_q,
                self._variable_manager,
            ).run()
        self._final_q.send_task_result(
            _RawTaskResult(host=host, task=own, return_data=result, task_fields=own.dump_attrs())
        )
        self._pending_results += 1
