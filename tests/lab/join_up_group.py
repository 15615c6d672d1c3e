"""Stands for a build or a playbook that a killed run left: joins the second lab's group of runs and goes on."""

import os
import time
from pathlib import Path

from lab import layout

layout.CGROUP = "llmaas-lab-test"  # type: ignore[misc]

from lab.cgroups import cgroup_folders  # noqa: E402 - see above
from lab.teardown import UP_GROUP  # noqa: E402

for folder in cgroup_folders(UP_GROUP):
    Path(folder, "cgroup.procs").write_text(str(os.getpid()))
print("at work", flush=True)
time.sleep(600)
