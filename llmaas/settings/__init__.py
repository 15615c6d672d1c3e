"""The typed description of an environment: ``load_platform("lab")`` gives a frozen, checked ``Platform``."""

from llmaas.settings.alerts import AlertReceiver, Alerts
from llmaas.settings.catalogue import Architecture, Artefact, Model, slug_of
from llmaas.settings.disks import DataDevice, DiskEncryption, KeyServer
from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.flows import DeclaredFlow
from llmaas.settings.gpus import GpuRuntime, Gpus, Mig, RuntimeSet, counted
from llmaas.settings.infrastructure import Host, Kubernetes, Network, Site
from llmaas.settings.loading import build_platform, load_platform, load_platform_from_pulumi
from llmaas.settings.platform import Machine, Platform
from llmaas.settings.service import Demand, Gateway, Images, Measurement, ServiceLevels, Tier
from llmaas.settings.sovereignty import Backup, Period, Retention, State, Waiver

__all__ = [
    "AlertReceiver",
    "Alerts",
    "Architecture",
    "Artefact",
    "Backup",
    "DataDevice",
    "DeclaredFlow",
    "Demand",
    "DiskEncryption",
    "Gateway",
    "GpuRuntime",
    "Gpus",
    "Host",
    "Images",
    "KeyServer",
    "Kubernetes",
    "Machine",
    "Measurement",
    "Mig",
    "Model",
    "Network",
    "Period",
    "Platform",
    "Problem",
    "Retention",
    "RuntimeSet",
    "ServiceLevels",
    "SettingsError",
    "Site",
    "State",
    "Tier",
    "Waiver",
    "build_platform",
    "counted",
    "load_platform",
    "load_platform_from_pulumi",
    "slug_of",
]
