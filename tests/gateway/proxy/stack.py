"""Proxies, the model server behind them, and what they share."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis
import yaml
from data_servers import PostgresServer, RedisServer, open_folder
from ports import free_port

from lab.images.python import image_python

from .packages import litellm_part
from .processes import Nursery, Program, answers, has_ended, wait_until

ROOT = Path(__file__).parents[3]
MASTER_KEY = "sk-master-of-the-tests"
MODELS = ("chat-model", "spare-model", "free-model")
EMBEDDING_MODEL = "embedding-model"
# Of the impatient proxy; long enough for a model that a busy machine keeps waiting.
ANSWER_SECONDS, SILENCE_SECONDS = 5, 4
TIER = {"priority": "normal", "requests_per_minute": 100_000}
TIERS: list[dict[str, Any]] = [
    {"name": "open", "billing": "monthly", **TIER},
    {"name": "prepaid", "billing": "prepaid", "prepaid_eur": 1, **TIER},
    {"name": "capped", "billing": "monthly", "monthly_cap_eur": 1, **TIER},
    {"name": "few", "billing": "monthly", "output_tokens_per_hour": 100, **TIER},
    {"name": "slow", "billing": "monthly", **TIER, "requests_per_minute": 3},
    {"name": "minute", "billing": "monthly", **TIER, "requests_per_minute": 67},
    {"name": "wide", "billing": "monthly", **TIER, "parallel_requests": 67},
    {"name": "narrow", "billing": "monthly", "parallel_requests": 2, **TIER},
    {"name": "trusted", "billing": "monthly", **TIER, "euros_while_ledger_is_away": 1},
]
# The second model's tokens are dearer: a call that falls back to it must be charged by its prices. The third is free.
PRICES = """
currency: EUR
time_zone: Europe/Paris
entries:
  - {id: all, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "1", output: "10"}}
  - {id: spare, model: spare-model, per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "2", output: "20"}}
  - {id: free, model: free-model, per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "0", output: "0"}}
"""


class Proxy:
    """One LiteLLM with the gateway in it, or without."""

    def __init__(self, stack: "Stack", name: str, *, bare: bool = False, **gateway: Any) -> None:
        """Fields of the gateway's file may be others than the stack's."""
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.log = stack.folder / f"{name}.log"
        self.pid: int | None = None
        self._nursery, self._bare = stack.nursery, bare
        self._environment: dict[str, str] = {}
        if gateway:
            file = stack.folder / f"gateway-{name}.yaml"
            file.write_text(yaml.safe_dump(yaml.safe_load((stack.folder / "gateway.yaml").read_text()) | gateway))
            self._environment["LLMAAS_GATEWAY_CONFIG"] = str(file)
        self._arguments = ["--config", str(stack.folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]

    def start(self) -> None:
        self.pid = self._nursery.fork(self._arguments, self.log, self._environment, bare=self._bare)

    def end(self, how: signal.Signals) -> None:
        """Nothing if it is not started."""
        pid, self.pid = self.pid, None
        if pid is not None:
            self._nursery.end(pid, how)

    def ready(self) -> bool:
        return answers(f"{self.url}/health/readiness")

    def wait(self) -> None:
        """Until it answers.

        Raises:
            TimeoutError: it does not; the text is the end of its log.
            ChildProcessError: it ended; likewise.
        """
        try:
            wait_until(self._ready_or_ended, self.url)
        except TimeoutError as error:
            if self.pid is not None:
                # its log then says where each of its threads stands
                os.kill(self.pid, signal.SIGUSR1)
                time.sleep(1)
            raise TimeoutError(f"{error}:\n{self.end_of_log()}") from None

    def _ready_or_ended(self) -> bool:
        self.refuse_a_crash()
        return self.ready()

    def refuse_a_crash(self) -> None:
        """Nothing if it runs or was ended.

        Raises:
            ChildProcessError: it ended by itself; the text is the end of its log.
        """
        if self.pid is not None and has_ended(self.pid):
            raise ChildProcessError(f"{self.url} ended:\n{self.end_of_log()}")

    def end_of_log(self) -> str:
        """The last it said."""
        return self.log.read_text()[-12_000:]


class Stack:
    """Everything that the proxies need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("redis", "postgres", "bin"):
            (folder / name).mkdir()
        self.part = litellm_part()
        self.redis = RedisServer(folder / "redis")
        self.postgres = PostgresServer(folder / "postgres")
        port = free_port()
        self.upstream_url = f"http://127.0.0.1:{port}"
        command = [image_python(), "-s", "-m", "uvicorn", "--log-level", "warning", "--port", str(port), "upstream:app"]
        self.upstream = Program(command, self.environment(), folder / "upstream.log")
        self.nursery = Nursery(self.environment(), folder)
        self.admin = httpx.Client(headers={"Authorization": f"Bearer {MASTER_KEY}"}, timeout=60)

    def environment(self) -> dict[str, str]:
        """As the image and the pod give it."""
        packages = self.part / "opt/site-packages"
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT / 'gateway'}:{packages}:{Path(__file__).parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "NODE_NO_WARNINGS": "1",
            "PRISMA_QUERY_ENGINE_BINARY": str(self.part / "opt/prisma-engine/query-engine.mjs"),
            "PRISMA_ENGINES_MIRROR": "http://127.0.0.1:9",
            "CHECKPOINT_DISABLE": "1",
            "DISABLE_SCHEMA_UPDATE": "true",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
            "LITELLM_LOCAL_BLOG_POSTS": "True",
            "NO_DOCS": "True",
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "LITELLM_SALT_KEY": "sk-salt-of-the-tests",
            "DATABASE_URL": self.postgres.url,
            "LLMAAS_GATEWAY_CONFIG": str(self.folder / "gateway.yaml"),
            "LLMAAS_REDIS_URL": self.redis.url,
            "LLMAAS_AUDIT_KEY": "A" * 43,
            "LLMAAS_CACHE_SALT_SECRET": "a secret of the tests, thirty-two bytes and more",
        }

    def start(self) -> None:
        """Start all but the proxies."""
        prisma = self.folder / "bin/prisma"
        prisma.write_text("#!/bin/sh\nexit 0\n")
        prisma.chmod(0o755)
        self._write_configuration()
        self.redis.start()
        self.postgres.start()
        self.upstream.start()
        migrate = [image_python(), "-s", str(ROOT / "images/litellm/programs/migrate.py")]
        subprocess.run(migrate, check=True, env=self.environment(), stdout=subprocess.DEVNULL)
        wait_until(lambda: answers(f"{self.upstream_url}/seen"), "the model server")

    def _write_configuration(self) -> None:
        def model(name: str, mode: str) -> dict[str, Any]:
            parameters = {"model": f"hosted_vllm/{name}", "api_base": f"{self.upstream_url}/v1", "api_key": "none"}
            # Prices as in production: a model without any makes LiteLLM search for the mistake with each call.
            costs = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}
            info = {"id": name, "mode": mode, **costs}
            return {"model_name": name, "litellm_params": parameters, "model_info": info}

        litellm = {
            "model_list": [*(model(name, "chat") for name in MODELS), model(EMBEDDING_MODEL, "embedding")],
            "router_settings": {
                "num_retries": 2,
                "retry_after": 0,
                "disable_cooldowns": True,
                "fallbacks": [{MODELS[0]: [MODELS[1]]}],
            },
            "litellm_settings": {
                "num_retries": 0,
                "telemetry": False,
                "turn_off_message_logging": True,
                "disable_add_user_agent_to_request_tags": True,
            },
            "general_settings": {
                "master_key": "os.environ/LITELLM_MASTER_KEY",
                "database_url": "os.environ/DATABASE_URL",
                "database_connection_pool_limit": 5,
                # As in production: replicas tell each other of blocked keys by Redis, and there is no cache of answers.
                "coordination_redis": {"host": "127.0.0.1", "port": self.redis.port},
                "always_include_stream_usage": True,
                "disable_error_logs": True,
                "disable_spend_logs": True,
            },
        }
        few = {"context_tokens": 4096, "template_tokens": 0, "message_tokens": 0}
        chat: list[dict[str, Any]] = [{"name": name, **few} for name in MODELS]
        chat[0]["fallbacks"] = [MODELS[1]]
        chat[1]["most_output_tokens"] = 50
        gateway = {
            "prices": "prices.yaml",
            "models": [*chat, {"name": EMBEDDING_MODEL, "context_tokens": 512, "capability": "embedding"}],
            "tiers": TIERS,
            "lease_seconds": 6,
        }
        (self.folder / "prices.yaml").write_text(PRICES)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(litellm))
        (self.folder / "gateway.yaml").write_text(yaml.safe_dump(gateway))

    def stop(self) -> None:
        self.nursery.close()
        self.upstream.end(signal.SIGTERM)
        self.redis.kill()
        self.postgres.kill()
        self.admin.close()

    def tenant(self, name: str, tier: str, *, credit_nano_eur: int = 0) -> None:
        """A tenant in the directory's own tables."""
        with self.postgres.connect() as connection:
            connection.execute(
                "INSERT INTO ledger.tenant VALUES (%s, %s, %s, 'active', 1, now(), now())", [name, name, tier]
            )
            if credit_nano_eur:
                connection.execute("INSERT INTO ledger.top_up VALUES (%s, 'first', %s, now())", [name, credit_nano_eur])

    def key(self, proxy: Proxy, tenant: str, models: Sequence[str] = (), **metadata: Any) -> str:
        """A key of the tenant's own team, for all models or for some, with a budget in its metadata if wanted."""
        team = self.admin.post(f"{proxy.url}/team/new", json={"team_alias": tenant, "metadata": {"tenant": tenant}})
        team_id = team.raise_for_status().json()["team_id"]
        body = {"team_id": team_id, "models": list(models), "metadata": metadata}
        made = self.admin.post(f"{proxy.url}/key/generate", json=body)
        return str(made.raise_for_status().json()["key"])

    def limit_at_litellm(self, proxy: Proxy, key: str, requests_per_minute: int) -> None:
        """Give a key LiteLLM's own limit, as who works at its own administration does."""
        body = {"key": key, "rpm_limit": requests_per_minute}
        self.admin.post(f"{proxy.url}/key/update", json=body).raise_for_status()

    def suspend(self, tenant: str) -> None:
        """What the directory's own administration does: the database, then every replica's copy in Redis."""
        with self.postgres.connect() as connection:
            connection.execute("UPDATE ledger.tenant SET state = 'suspended', revision = 2 WHERE tenant = %s", [tenant])
        with redis.Redis.from_url(self.redis.url) as client:
            client.delete(f"llmaas:tenant:{tenant}")

    def seen(self) -> dict[str, Any]:
        """What the model server was asked."""
        answer: dict[str, Any] = httpx.get(f"{self.upstream_url}/seen").json()
        return answer

    wait_until = staticmethod(wait_until)

    def dump(self) -> str:
        """Everything that Redis and PostgreSQL hold, as text."""
        dump = subprocess.run(
            ["/usr/lib/postgresql/15/bin/pg_dump", "--data-only", "--inserts", self.postgres.url],
            check=True,
            capture_output=True,
        )
        files = b"".join(path.read_bytes() for path in (self.folder / "redis").rglob("*") if path.is_file())
        return (dump.stdout + files).decode(errors="replace")

    def used(self, scope: str, limit: str) -> dict[str, int]:
        """What is settled and held on the counters of a limit, over its windows."""
        with redis.Redis.from_url(self.redis.url, decode_responses=True) as client:
            counters = [client.hgetall(key) for key in client.keys(f"llmaas:counter:{scope}:{limit}*")]
        return {field: sum(int(counter.get(field, 0)) for counter in counters) for field in ("settled", "held")}

    @contextlib.contextmanager
    def background(self, action: Callable[[], None]) -> Iterator[None]:
        """Do something while the block runs."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(action)
            yield
        done.result()

    def records(self, tenant: str) -> list[psycopg.rows.DictRow]:
        """What the database has of a tenant."""
        with self.postgres.connect() as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(
                "SELECT * FROM ledger.record WHERE tenant = %s ORDER BY began_at", [tenant]
            ).fetchall()

    def wait_for_records(self, tenant: str, number: int, seconds: float = 20) -> list[psycopg.rows.DictRow]:
        """The records, once there are so many."""
        wait_until(lambda: len(self.records(tenant)) >= number, f"record {number} of {tenant}", seconds)
        return self.records(tenant)


@contextlib.contextmanager
def running_stack() -> Iterator[Stack]:
    """Everything that proxies need, until it is left."""
    with open_folder("gateway") as folder:
        stack = Stack(folder)
        stack.start()
        try:
            yield stack
        finally:
            stack.stop()


@contextlib.contextmanager
def running(proxies: Sequence[Proxy]) -> Iterator[None]:
    """Proxies that answer, until they are left; also those that were not ready in time are ended."""
    try:
        for proxy in proxies:
            proxy.start()
        for proxy in proxies:
            proxy.wait()
        yield
        for proxy in proxies:
            proxy.refuse_a_crash()
    finally:
        for proxy in proxies:
            proxy.end(signal.SIGTERM)
