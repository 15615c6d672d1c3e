"""The Pulumi program: one environment from its stack file. What it deploys is said by ``llmaas.deployment``."""

from llmaas.deployment import deploy
from llmaas.materials import load_materials
from llmaas.settings import load_platform_from_pulumi

platform = load_platform_from_pulumi()
deploy(platform, load_materials(platform))
