"""Configuration of the data stores: Redis, and the gateway's database in PostgreSQL."""

import math
from typing import Final
from urllib.parse import quote

from llmaas_gateway.ledger.memory import needed_bytes

from llmaas.settings import Platform
from llmaas.views import topology as t
from llmaas.views.rendering import render

REDIS_DATA: Final = "/var/lib/redis"
REDIS_AUTH_FILE: Final = "/run/llmaas/redis/password.conf"
# The least, and the step: a demand that changes a little does not start Redis anew.
_REDIS_STEP_MIB: Final = 256
# Redis itself, counters, copies of accounts, and LiteLLM's own keys.
_REDIS_BASE_MIB: Final = 32
# Of what the declared demand needs: a peak may be higher than declared.
_REDIS_MARGIN: Final = 1.25
_MIB: Final = 2**20
# The environment variable in which the script finds the password of the gateway's role.
DATABASE_LOGIN_VARIABLE: Final = "LITELLM_DATABASE_PASSWORD"


def redis_needed_mib(platform: Platform) -> int:
    """The memory that Redis takes at the declared peak, for hours, with PostgreSQL away for one of them."""
    peak = sum(demand.tenants * demand.requests_per_minute * demand.peak_factor for demand in platform.demand)
    return _REDIS_BASE_MIB + math.ceil(needed_bytes(peak) / _MIB)


def redis_memory_mib(platform: Platform) -> int:
    """The memory beyond which Redis takes no more: what the declared demand needs, and a margin."""
    return _REDIS_STEP_MIB * math.ceil(_REDIS_MARGIN * redis_needed_mib(platform) / _REDIS_STEP_MIB)


def redis_configuration(platform: Platform, certificate: str) -> str:
    """redis.conf; ``certificate`` is the folder of the server's certificate."""
    return render(
        "redis/redis.conf.j2",
        password_file=REDIS_AUTH_FILE,
        port=t.REDIS_PORT,
        certificate=certificate,
        data=REDIS_DATA,
        memory_mib=redis_memory_mib(platform),
    )


def redis_password_file(password: str) -> str:
    """The part of redis.conf that is a secret."""
    return f'requirepass "{password}"\n'


def redis_url(password: str, ca_file: str) -> str:
    """How the gateway reaches its ledger: only over TLS, and only the server that our authority vouches for."""
    host = t.full_name(t.REDIS_SERVICE, t.DATA)
    checks = f"ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs={ca_file}"
    return f"rediss://:{quote(password, safe='')}@{host}:{t.REDIS_PORT}/0?{checks}"


def database_script() -> str:
    """What psql runs as superuser before LiteLLM's migrations."""
    return render(
        "postgres/database.sql.j2",
        password_variable=DATABASE_LOGIN_VARIABLE,
        user=t.DATABASE_USER,
        database=t.DATABASE,
    )


def database_url(password: str) -> str:
    """How LiteLLM reaches its database: only over TLS, and only the server that our authority vouches for."""
    host = t.full_name(t.POSTGRES_SERVICE, t.DATA)
    return f"postgresql://{t.DATABASE_USER}:{password}@{host}:{t.POSTGRES_PORT}/{t.DATABASE}?sslmode=verify-full"
