"""The Pulumi program: one environment from its stack file. What it deploys is said by ``llmaas.deployment``."""

from datetime import UTC, datetime

import pulumi

from llmaas.deployment import deploy
from llmaas.materials import MaterialError, load_materials
from llmaas.pki import PkiError
from llmaas.preview.gate import RefusedError, admitted, record_placement
from llmaas.settings import SettingsError, load_platform_from_pulumi
from llmaas.views.hardening import ending

moment = datetime.now(UTC)
try:
    platform = load_platform_from_pulumi()
    placed = admitted(platform, pulumi.get_stack(), moment)
    materials = load_materials(placed, moment)
except (SettingsError, RefusedError, MaterialError, PkiError) as error:
    # shown as it is: the text says where and what to do, a traceback would hide it
    raise pulumi.RunError(str(error)) from error
for warning in ending(placed, moment.date()):
    pulumi.log.warn(str(warning))
if materials.certificate_notice:
    pulumi.log.warn(materials.certificate_notice)
if not pulumi.runtime.is_dry_run():
    record_placement(platform, placed)
deploy(placed, materials)
