"""The gateway inside the LiteLLM proxy: what a client sends is made safe, admitted, priced and settled."""
