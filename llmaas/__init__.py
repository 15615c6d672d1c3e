"""LLM-as-a-Service: one stack file drives hosts, cluster, models, gateway and their checks."""
