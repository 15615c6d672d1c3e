"""What the proxy's logs may say: no line of LiteLLM quotes a request or an answer."""

import logging
import sys
from typing import Final

_LITELLM: Final = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Proxy.stdout", "LiteLLM Router")


class OnlyWhere(logging.Filter):
    """Keeps of a warning or an error where it comes from and what kind of exception it is.

    Messages of exceptions hold what a model's server answered, which quotes the prompt that it refused; and a traceback
    for each refused request would cost more than the request.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; False for what is no warning."""
        error = record.exc_info[1] if record.exc_info else sys.exc_info()[1]
        kind = f": {type(error).__name__}" if error is not None else ""
        record.msg, record.args = f"{record.module}:{record.lineno}{kind}", ()
        record.exc_info = record.exc_text = record.stack_info = None
        return record.levelno >= logging.WARNING


def configure() -> None:
    """Warnings of LiteLLM without their text; the gateway's own lines whole."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s:%(name)s:%(message)s")
    logging.getLogger("llmaas_gateway").setLevel(logging.INFO)
    for name in _LITELLM:
        logger = logging.getLogger(name)
        logger.addFilter(OnlyWhere())
        # It has a handler of its own; root's would write each line a second time.
        logger.propagate = False
