"""The whole platform on one machine: toolchain, hosts, registry and the stand-ins for what no mirror has."""
