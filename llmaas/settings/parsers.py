"""The parsers of vLLM 0.32.0 that read tool calls and reasoning out of what a model writes.

Names are those of vLLM's documentation (features/tool_calling, features/reasoning_outputs) for models with open
weights. A name that vLLM does not know stops every server of the model, so others are refused here; a parser's code
comes with the image, never from a file.
"""

from typing import Final, Literal, get_args

ToolParser = Literal[
    "deepseek_v3",
    "deepseek_v31",
    "gemma4",
    "glm45",
    "granite",
    "granite4",
    "hermes",
    "kimi_k2",
    "llama3_json",
    "llama4_pythonic",
    "minimax_m2",
    "mistral",
    "olmo3",
    "openai",
    "phi4_mini_json",
    "pythonic",
    "qwen3_coder",
    "qwen3_xml",
]
ReasoningParser = Literal[
    "deepseek_r1",
    "deepseek_v3",
    "gemma4",
    "glm45",
    "granite",
    "kimi_k2",
    "minimax_m2",
    "mistral",
    "olmo3",
    "openai_gptoss",
    "qwen3",
]
TOOL_PARSERS: Final = ", ".join(get_args(ToolParser))
REASONING_PARSERS: Final = ", ".join(get_args(ReasoningParser))
