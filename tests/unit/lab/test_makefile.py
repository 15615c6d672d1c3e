"""What a shell that took over ``llmaas lab env`` hands on to the programs that make starts."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("exported", "handed_on"),
    [("/root/.local/state/llmaas/lab/pki/root.crt", ""), ("/etc/ssl/certs/site.crt", "/etc/ssl/certs/site.crt")],
)
def test_the_labs_root_certificate_is_for_clients_of_the_lab_alone(exported: str, handed_on: str) -> None:
    shown = subprocess.run(
        ["make", "--silent", "--no-print-directory", "--eval", 'show:;@echo "$$SSL_CERT_FILE"', "show"],
        cwd=ROOT, env={**os.environ, "SSL_CERT_FILE": exported}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown.strip() == handed_on
