"""What a tenant pays, may use and can trust: runs inside the LiteLLM proxy as its hooks."""
