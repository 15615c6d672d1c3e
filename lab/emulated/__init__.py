"""Hosts with a kernel and disks of their own, by software emulation: where encrypted storage can really run."""
