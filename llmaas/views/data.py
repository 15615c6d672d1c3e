"""Configuration of the data stores: Redis, and the gateway's database in PostgreSQL."""

from typing import Final
from urllib.parse import quote

from llmaas.views import topology as t
from llmaas.views.rendering import render

REDIS_DATA: Final = "/var/lib/redis"
REDIS_AUTH_FILE: Final = "/run/llmaas/redis/password.conf"
REDIS_MEMORY_MIB: Final = 256
# The environment variable in which the script finds the password of the gateway's role.
DATABASE_LOGIN_VARIABLE: Final = "LITELLM_DATABASE_PASSWORD"


def redis_configuration(certificate: str) -> str:
    """redis.conf; ``certificate`` is the folder of the server's certificate."""
    return render(
        "redis/redis.conf.j2",
        password_file=REDIS_AUTH_FILE,
        port=t.REDIS_PORT,
        certificate=certificate,
        data=REDIS_DATA,
        memory_mib=REDIS_MEMORY_MIB,
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
