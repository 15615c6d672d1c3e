"""Composes the components of one environment from its settings and its materials."""

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.certificates import Certificate, Certificates, CertificatesArgs
from llmaas.components.edge import Edge, EdgeArgs
from llmaas.components.gateway import LiteLLM, LiteLLMArgs
from llmaas.components.gpus import GpuNodes, GpuNodesArgs
from llmaas.components.isolation import Isolation, IsolationArgs
from llmaas.components.monitoring import Prometheus, PrometheusArgs
from llmaas.components.postgres import Postgres, PostgresArgs
from llmaas.components.redis import Redis, RedisArgs
from llmaas.components.secrets import SecretValues
from llmaas.components.serving import ModelEndpoint, ModelEndpointArgs, VllmServer, VllmServerArgs
from llmaas.components.volumes import LocalVolume, LocalVolumeArgs
from llmaas.materials import Materials
from llmaas.planning.host_memory import server_memory
from llmaas.planning.stores import data_host, monitoring_host
from llmaas.settings import Host, Model, Platform
from llmaas.settings.gpu_sets import runtime_set
from llmaas.views import data, gateway, gpu_alerts, gpus, haproxy, lifecycle, litellm, prometheus, vllm
from llmaas.views import topology as t
from llmaas.views.network_policies import network_policies

# What the volumes say; local volumes hold nobody to it.
_WEIGHTS_GIB = 1
_TOKENIZERS_GIB = 1


def deploy(platform: Platform, materials: Materials) -> None:
    """Declare everything that runs in the cluster of ``platform``."""
    # Always this environment's own cluster, whatever KUBECONFIG says.
    provider = k8s.Provider("cluster", kubeconfig=materials.kubeconfig)
    isolation = Isolation(
        "isolation",
        IsolationArgs(t.namespaces(platform), network_policies(platform), privileged=(t.GPU,)),
        pulumi.ResourceOptions(providers=[provider]),
    )
    inside = pulumi.ResourceOptions(providers=[provider], depends_on=[isolation])
    certificates = Certificates("certificates", CertificatesArgs(_certificates(materials)), inside)
    options = pulumi.ResourceOptions(providers=[provider], depends_on=[isolation, certificates])
    _gpus(platform, materials, certificates, options)
    stores = _data_stores(platform, materials, certificates, options)
    _models(platform, materials, certificates, options)
    _gateway(
        platform,
        materials,
        certificates,
        pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=stores)),
    )
    _edge(platform, materials, certificates, options)
    _monitoring(platform, materials, certificates, options)
    pulumi.export("base_urls", [f"https://{address}/v1" for address in t.service_addresses(platform)])
    pulumi.export("models", [model.name for model in t.served_models(platform)])


def _certificates(materials: Materials) -> list[Certificate]:
    return [
        Certificate(
            name=leaf.request.name,
            namespace=leaf.request.namespace,
            serial=leaf.serial,
            certificate=leaf.certificate,
            key=pulumi.Output.secret(leaf.key),
            ca=leaf.ca,
        )
        for leaf in materials.leaves.values()
    ]


def _data_stores(
    platform: Platform, materials: Materials, certificates: Certificates, options: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    host = data_host(platform).name
    postgres = Postgres(
        t.POSTGRES_SERVICE,
        PostgresArgs(
            namespace=t.DATA,
            host=host,
            image=materials.images["postgres"],
            certificate=certificates.names[t.POSTGRES_SERVICE],
            superuser=_secret_values(materials, password=materials.postgres_superuser),
        ),
        options,
    )
    redis = Redis(
        t.REDIS_SERVICE,
        RedisArgs(
            namespace=t.DATA,
            host=host,
            image=materials.images["redis"],
            certificate=certificates.names[t.REDIS_SERVICE],
            configuration=data.redis_configuration(platform, haproxy.certificate_folder(t.REDIS_SERVICE)),
            auth=_secret_values(materials, **{"password.conf": data.redis_password_file(materials.redis)}),
            needed_mib=data.redis_needed_mib(platform),
            memory_mib=data.redis_memory_mib(platform),
        ),
        options,
    )
    return [postgres, redis]


def _models(
    platform: Platform, materials: Materials, certificates: Certificates, options: pulumi.ResourceOptions
) -> None:
    claims: dict[tuple[str, str], LocalVolume] = {}
    for model in t.served_models(platform):
        name = t.vllm_name(model)
        endpoint = ModelEndpoint(
            name,
            ModelEndpointArgs(
                namespace=t.SERVING,
                slug=model.slug,
                proxy_configuration=haproxy.serving_configuration(name),
                minimum_replicas=model.minimum_replicas if model.phase == "stable" else None,
            ),
            options,
        )
        # The Deployments of a model are renewed one after the other: they do not know of each other, and all at once
        # would take every replica away. Of different models nothing waits for another.
        before: list[pulumi.Resource] = []
        for host_name, replicas in model.placement.items():
            if replicas == 0:
                continue
            host = platform.host(host_name)
            place = (model.artefact, host_name)
            if place not in claims:
                claims[place] = _weights(*place, options)
            weights = claims[place]
            server = VllmServer(
                f"{name}-{host_name}",
                _server_args(platform, materials, model, host, replicas, endpoint, certificates, weights),
                pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[weights, endpoint, *before])),
            )
            before = [server]


def _weights(artefact: str, host: str, options: pulumi.ResourceOptions) -> LocalVolume:
    """The folder in which Ansible placed the weights on a host; servers there share it."""
    return LocalVolume(
        f"weights-{artefact}-{host}",
        LocalVolumeArgs(t.SERVING, [host], f"{t.MODELS_ROOT}/{artefact}", _WEIGHTS_GIB, "ReadOnlyMany"),
        options,
    )


def _gateway(
    platform: Platform, materials: Materials, certificates: Certificates, options: pulumi.ResourceOptions
) -> None:
    trust = f"{haproxy.certificate_folder(t.GATEWAY_IDENTITY)}/ca.crt"
    hosts = [host.name for host in platform.hosts_with_role("service")]
    tokenizers = _tokenizers(hosts, options) if materials.tokenizers else None
    LiteLLM(
        t.GATEWAY_SERVICE,
        LiteLLMArgs(
            namespace=t.GATEWAY,
            hosts=hosts,
            replicas=platform.gateway.replicas,
            image=materials.images["litellm"],
            proxy_image=materials.images["haproxy"],
            postgres_image=materials.images["postgres"],
            certificate=certificates.names[t.GATEWAY_IDENTITY],
            configuration={
                litellm.CONFIGURATION_FILE: litellm.configuration(platform, trust, materials.prices),
                gateway.CONFIGURATION_FILE: gateway.configuration(platform, materials.tokenizers),
                gateway.PRICE_BOOK_FILE: materials.price_book,
                lifecycle.FILE_NAME: lifecycle.lifecycle_file(platform),
            },
            tokenizers_claim=None if tokenizers is None else tokenizers.claim,
            proxy_configuration=haproxy.gateway_configuration(platform),
            database_script=data.database_script(),
            secrets=_secret_values(
                materials,
                **{
                    "database-url": data.database_url(materials.postgres_litellm),
                    "master-key": materials.litellm_master_key,
                    "salt-key": materials.litellm_salt_key,
                    "redis": materials.redis,
                    "redis-url": data.redis_url(materials.redis, trust),
                    "cache-salt": materials.cache_salt,
                    "audit-key": materials.audit_key,
                },
            ),
            migration_secrets=_secret_values(
                materials, superuser=materials.postgres_superuser, litellm=materials.postgres_litellm
            ),
        ),
        pulumi.ResourceOptions.merge(
            options, pulumi.ResourceOptions(depends_on=[] if tokenizers is None else [tokenizers])
        ),
    )


def _tokenizers(hosts: list[str], options: pulumi.ResourceOptions) -> LocalVolume:
    """The folder in which Ansible placed the same tokenizers on every host of the gateway."""
    # A volume's hosts cannot be changed: others are another volume, and the pods are rolled onto it.
    name = pods.content_name("tokenizers", {"hosts": ",".join(hosts)})
    args = LocalVolumeArgs(t.GATEWAY, hosts, t.TOKENIZERS_ROOT, _TOKENIZERS_GIB, "ReadOnlyMany")
    return LocalVolume(name, args, options)


def _gpus(
    platform: Platform, materials: Materials, certificates: Certificates, options: pulumi.ResourceOptions
) -> None:
    """What hands real GPUs out and watches them; nothing where all are simulated."""
    chosen = runtime_set(platform)
    if chosen is None:
        return
    GpuNodes(
        "gpus",
        GpuNodesArgs(
            namespace=t.GPU,
            device_plugin_image=materials.images[t.DEVICE_PLUGIN_PART],
            exporter_image=materials.images[t.GPU_EXPORTER_SERVICE],
            certificate=certificates.names[t.GPU_EXPORTER_SERVICE],
            fields=gpu_alerts.fields(),
            web_configuration=prometheus.web_configuration(haproxy.certificate_folder(t.GPU_EXPORTER_SERVICE)),
            node_labels=gpus.selector(),
            divided=any(host.gpus is not None and host.gpus.mig is not None for host in platform.hosts),
        ),
        options,
    )


def _edge(
    platform: Platform, materials: Materials, certificates: Certificates, options: pulumi.ResourceOptions
) -> None:
    Edge(
        t.EDGE_SERVICE,
        EdgeArgs(
            namespace=t.EDGE,
            hosts=[host.name for host in platform.hosts_with_role("service")],
            addresses=t.service_addresses(platform),
            image=materials.images["haproxy"],
            configuration=haproxy.edge_configuration(platform),
            server_certificate=certificates.names[t.EDGE_SERVICE],
            client_certificate=certificates.names[t.EDGE_CLIENT],
        ),
        options,
    )


def _monitoring(
    platform: Platform, materials: Materials, certificates: Certificates, options: pulumi.ResourceOptions
) -> None:
    certificate = haproxy.certificate_folder(t.PROMETHEUS_IDENTITY)
    Prometheus(
        t.PROMETHEUS_SERVICE,
        PrometheusArgs(
            namespace=t.MONITORING,
            host=monitoring_host(platform).name,
            image=materials.images["prometheus"],
            certificate=certificates.names[t.PROMETHEUS_IDENTITY],
            configuration=prometheus.configuration(platform, certificate),
            rules=prometheus.rules(platform, materials.certificate_ends),
            web_configuration=prometheus.web_configuration(certificate),
            receiver_authority=materials.receiver_authority,
        ),
        options,
    )


def _secret_values(materials: Materials, **values: str) -> SecretValues:
    version = materials.version(*(f"{key}={values[key]}" for key in sorted(values)))
    return SecretValues(version, {key: pulumi.Output.secret(value) for key, value in values.items()})


def _server_args(  # noqa: PLR0913, PLR0917 - what a server is made of
    platform: Platform,
    materials: Materials,
    model: Model,
    host: Host,
    replicas: int,
    endpoint: ModelEndpoint,
    certificates: Certificates,
    weights: LocalVolume,
) -> VllmServerArgs:
    name = t.vllm_name(model)
    if host.gpus is None:
        raise ValueError(f"llmaas:models: {model.name} is placed on {host.name}, which has no GPUs")
    memory = server_memory(model, host.gpus)
    return VllmServerArgs(
        namespace=t.SERVING,
        host=host.name,
        slug=model.slug,
        artefact=model.artefact,
        replicas=replicas,
        gpus=model.gpus_per_replica,
        image=materials.images["vllm"],
        proxy_image=materials.images["haproxy"],
        proxy_configuration=endpoint.proxy_configuration,
        leaf=name,
        certificate=certificates.names[name],
        weights_claim=weights.claim,
        arguments=vllm.arguments(platform, model, host.name),
        memory=pods.Memory(memory.request_mib, memory.limit_mib),
        shared_memory_mib=memory.shared_mib,
        # The image for simulated GPUs compiles nothing and brings a cache of its own, which must not be hidden.
        compiles=host.gpus.kind != "simulated",
        runtime_class=gpus.runtime_class(host),
    )
