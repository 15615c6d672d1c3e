"""LiteLLM on several hosts: its database is migrated once a version, TLS in and out is its proxy's work."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.secrets import SecretValues, password_secret
from llmaas.components.stores import headless_service
from llmaas.views import data, gateway, litellm
from llmaas.views import topology as t
from llmaas.views.haproxy import certificate_folder

_MEMORY: Final = pods.Memory(512, 2048)
_MIGRATION_MEMORY: Final = pods.Memory(128, 1024)
_DATABASE_MEMORY: Final = pods.Memory(16, 128)
_CONFIGURATION_FOLDER: Final = "/etc/llmaas/litellm"
_DATABASE_FOLDER: Final = "/etc/llmaas/database"
_TRUST: Final = f"{certificate_folder(t.GATEWAY_IDENTITY)}/ca.crt"
# The database's certificate is checked by the query engine, a Node program, and by the migrations, which use libpq.
_TRUST_ENVIRONMENT: Final = {"NODE_EXTRA_CA_CERTS": _TRUST, "PGSSLROOTCERT": _TRUST}
_GATEWAY: Final = {gateway.CONFIGURATION_VARIABLE: f"{_CONFIGURATION_FOLDER}/{gateway.CONFIGURATION_FILE}"}
# Written out, so that no image can leave them away.
_OFFLINE: Final = {"LITELLM_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@dataclass(frozen=True)
class LiteLLMArgs:
    """``configuration`` is text by name of file; ``tokenizers_claim`` holds the tokenizers that it names, if any.

    ``secrets`` holds database-url, master-key, salt-key, redis, redis-url, cache-salt and audit-key;
    ``migration_secrets`` holds superuser and litellm.
    """

    namespace: str
    hosts: Sequence[str]
    replicas: int
    image: str
    proxy_image: str
    postgres_image: str
    certificate: str
    configuration: Mapping[str, str]
    tokenizers_claim: str | None
    proxy_configuration: str
    database_script: str
    secrets: SecretValues
    migration_secrets: SecretValues


class LiteLLM(pulumi.ComponentResource):
    """The migration Job, then the Deployment, the headless Service by which the edge finds it, and its floor."""

    def __init__(self, name: str, args: LiteLLMArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:gateway:LiteLLM", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = pods.labels(name)
        configuration = pods.config_map(f"{name}-configuration", args.namespace, args.configuration, child)
        proxy = pods.config_map(f"{name}-proxy", args.namespace, {"haproxy.cfg": args.proxy_configuration}, child)
        secret = password_secret(f"{name}-environment", args.namespace, args.secrets, child)
        migration = _migration(args, secret, child)
        headless_service(name, args.namespace, labels, t.GATEWAY_PORT, child)
        k8s.apps.v1.Deployment(
            f"{name}-server",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.apps.v1.DeploymentSpecArgs(
                replicas=args.replicas,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                strategy=pods.one_at_a_time(),
                progress_deadline_seconds=pods.START_SECONDS + 60,
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=_pod(args, labels, secret.name, configuration.name, proxy.name),
                ),
            ),
            # No replica serves before the tables are those of its version.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[migration, configuration.made, proxy.made, secret.made],
                custom_timeouts=pods.AWAIT,
            ),
        )
        k8s.policy.v1.PodDisruptionBudget(
            f"{name}-floor",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
                max_unavailable=1, selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels)
            ),
            opts=child,
        )
        self.register_outputs({"service": name})


def _environment(secret: str, names: Mapping[str, str]) -> list[k8s.core.v1.EnvVarArgs]:
    """Variables from keys of a Secret."""
    return [
        k8s.core.v1.EnvVarArgs(
            name=name,
            value_from=k8s.core.v1.EnvVarSourceArgs(
                secret_key_ref=k8s.core.v1.SecretKeySelectorArgs(name=secret, key=key)
            ),
        )
        for name, key in names.items()
    ]


def _migration(args: LiteLLMArgs, secret: pods.Named, options: pulumi.ResourceOptions) -> k8s.batch.v1.Job:
    """A Job named by what it runs: once for each version of LiteLLM, of the database script and of the secrets."""
    migration_secret = password_secret(t.MIGRATION_PART, args.namespace, args.migration_secrets, options)
    script = pods.config_map(
        f"{t.MIGRATION_PART}-script", args.namespace, {"database.sql": args.database_script}, options
    )
    runs = (args.image, args.postgres_image, args.database_script, args.certificate, secret.name, migration_secret.name)
    job = f"{t.MIGRATION_PART}-{hashlib.sha256('|'.join(runs).encode()).hexdigest()[:10]}"
    certificate = pods.certificate_files(t.GATEWAY_IDENTITY, args.certificate)
    script_files = pods.Files("script", _DATABASE_FOLDER, config_map=script.name)
    labels = pods.labels(t.MIGRATION_PART)
    database = k8s.core.v1.ContainerArgs(
        name="database",
        image=args.postgres_image,
        command=["psql", "--no-psqlrc", "--file", f"{_DATABASE_FOLDER}/database.sql", "postgres"],
        env=[
            *pods.plain(
                {
                    "PGHOST": t.full_name(t.POSTGRES_SERVICE, t.DATA),
                    "PGPORT": str(t.POSTGRES_PORT),
                    "PGUSER": "postgres",
                    "PGSSLMODE": "verify-full",
                    "PGSSLROOTCERT": _TRUST,
                    "PGSSLMINPROTOCOLVERSION": "TLSv1.3",
                }
            ),
            *_environment(migration_secret.name, {"PGPASSWORD": "superuser", data.DATABASE_LOGIN_VARIABLE: "litellm"}),
        ],
        volume_mounts=[script_files.mount(), certificate.mount()],
        security_context=pods.container_security(),
        resources=pods.resources(_DATABASE_MEMORY),
    )
    migrate = k8s.core.v1.ContainerArgs(
        name="migrate",
        image=args.image,
        command=["/usr/local/bin/migrate"],
        env=[
            *pods.plain({**_TRUST_ENVIRONMENT, **_OFFLINE}),
            *_environment(secret.name, {litellm.DATABASE_URL_VARIABLE: "database-url"}),
        ],
        volume_mounts=[certificate.mount(), pods.mount("tmp", "/tmp")],  # noqa: S108 - a volume of its own
        security_context=pods.container_security(),
        resources=pods.resources(_MIGRATION_MEMORY),
    )
    return k8s.batch.v1.Job(
        job,
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name=job,
            namespace=args.namespace,
            # A Job that gave up stays so: the next update makes it anew.
            annotations={"pulumi.com/replaceUnready": "true"},
        ),
        spec=k8s.batch.v1.JobSpecArgs(
            backoff_limit=10,
            template=k8s.core.v1.PodTemplateSpecArgs(
                metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                spec=k8s.core.v1.PodSpecArgs(
                    automount_service_account_token=False,
                    enable_service_links=False,
                    restart_policy="OnFailure",
                    security_context=pods.pod_security(),
                    affinity=k8s.core.v1.AffinityArgs(node_affinity=pods.on_hosts(args.hosts)),
                    init_containers=[database],
                    containers=[migrate],
                    volumes=[certificate.volume(), script_files.volume(), pods.scratch("tmp", 256)],
                ),
            ),
        ),
        opts=pulumi.ResourceOptions.merge(
            pods.of_its_own(f"{t.MIGRATION_PART}-job", options),
            pulumi.ResourceOptions(
                depends_on=[script.made, secret.made, migration_secret.made], custom_timeouts=pods.AWAIT
            ),
        ),
    )


def _pod(
    args: LiteLLMArgs,
    labels: Mapping[str, str],
    secret: str,
    configuration: str,
    proxy_configuration: str,
) -> k8s.core.v1.PodSpecArgs:
    certificate = pods.certificate_files(t.GATEWAY_IDENTITY, args.certificate)
    proxy = pods.Files("proxy", pods.HAPROXY_CONFIGURATION, config_map=proxy_configuration)
    files = pods.Files("configuration", _CONFIGURATION_FOLDER, config_map=configuration)
    volumes, mounts = _tokenizers(args.tokenizers_claim)
    server = k8s.core.v1.ContainerArgs(
        name="litellm",
        image=args.image,
        command=["/usr/local/bin/proxy"],
        args=[
            f"--config={_CONFIGURATION_FOLDER}/{litellm.CONFIGURATION_FILE}",
            "--host=127.0.0.1",
            f"--port={t.LITELLM_LOOPBACK_PORT}",
            "--num_workers=1",
        ],
        env=[
            *pods.plain({**_TRUST_ENVIRONMENT, **_OFFLINE, **_GATEWAY}),
            *_environment(
                secret,
                {
                    litellm.DATABASE_URL_VARIABLE: "database-url",
                    litellm.MASTER_KEY_VARIABLE: "master-key",
                    litellm.SALT_KEY_VARIABLE: "salt-key",
                    litellm.REDIS_AUTH_VARIABLE: "redis",
                    gateway.REDIS_URL_VARIABLE: "redis-url",
                    gateway.CACHE_SALT_VARIABLE: "cache-salt",
                    gateway.AUDIT_KEY_VARIABLE: "audit-key",
                },
            ),
        ],
        volume_mounts=[files.mount(), certificate.mount(), pods.mount("tmp", "/tmp"), *mounts],  # noqa: S108 - as above
        security_context=pods.container_security(),
        resources=pods.resources(_MEMORY, cpu="50m"),
        startup_probe=pods.start_probe(),
        readiness_probe=pods.status_probe("/ready", period=3, failures=2),
        liveness_probe=pods.status_probe("/ready", period=15, failures=12, timeout=10),
        lifecycle=pods.settle(),
    )
    return k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=pods.pod_security(),
        affinity=pods.spread_over(args.hosts, labels),
        init_containers=[
            pods.haproxy_container(args.proxy_image, (proxy, certificate), {"tls": t.GATEWAY_PORT}, "gateway")
        ],
        containers=[server],
        volumes=[proxy.volume(), files.volume(), certificate.volume(), pods.scratch("tmp", 512), *volumes],
        termination_grace_period_seconds=pods.GRACE_SECONDS,
    )


def _tokenizers(claim: str | None) -> tuple[list[k8s.core.v1.VolumeArgs], list[k8s.core.v1.VolumeMountArgs]]:
    """The pod's volume of tokenizers and where its server reads them; nothing where no model has one."""
    if claim is None:
        return [], []
    mount = k8s.core.v1.VolumeMountArgs(name="tokenizers", mount_path=t.TOKENIZERS_ROOT, read_only=True)
    return [pods.claimed("tokenizers", claim, read_only=True)], [mount]
