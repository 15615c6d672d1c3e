"""Ansible finds collections by itself; Python is told where they are."""

import sys

from llmaas.paths import PROJECT_ROOT

sys.path.append(str(PROJECT_ROOT / "ansible" / "collections"))
