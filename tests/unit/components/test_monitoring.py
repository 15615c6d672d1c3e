"""The authority that vouches for the receiver of alerts lies beside Prometheus' configuration, where one is named."""

import yaml
from unit.components.conftest import program_of

from llmaas.preview.placeholders import images_of
from llmaas.preview.recorder import Declared, record
from llmaas.settings import load_platform
from llmaas.views import prometheus


def files_of(declared: list[Declared]) -> dict[str, str]:
    maps = [each.inputs["data"] for each in declared if each.kind == "ConfigMap"]
    (found,) = [files for files in maps if prometheus.RULES_FILE in files]
    return dict(found)


def test_our_own_authority_needs_no_file(production: list[Declared], declared: list[Declared]) -> None:
    assert set(files_of(production)) == set(files_of(declared)) == {"prometheus.yml", "rules.yml", "web.yml"}
    assert "alerting" in yaml.safe_load(files_of(production)["prometheus.yml"])
    assert "alerting" not in yaml.safe_load(files_of(declared)["prometheus.yml"])


def test_another_authority_stands_where_the_configuration_looks_for_it() -> None:
    platform = load_platform("production")
    assert platform.alerts is not None
    receiver = platform.alerts.receiver.model_copy(update={"authority": "site-ca.crt"})
    changed = platform.model_copy(update={"alerts": platform.alerts.model_copy(update={"receiver": receiver})})
    files = files_of(record(program_of(changed, images_of(platform)[0]), "production"))
    (alertmanager,) = yaml.safe_load(files["prometheus.yml"])["alerting"]["alertmanagers"]
    assert files[alertmanager["tls_config"]["ca_file"]]
