"""The gateway inside real LiteLLM proxies, with real Redis and PostgreSQL and a model server of ours behind them."""
