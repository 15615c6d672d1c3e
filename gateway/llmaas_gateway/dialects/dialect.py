"""What an API other than chat completions needs, to be served by them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from llmaas_gateway.dialects.blocks import Answer, BlockStream


class Dialect(ABC):
    """One call in another API's words.

    Attributes:
        names: of parameters that chat completions call otherwise, by their name there.
    """

    names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, body: Mapping[str, Any]) -> None:
        """Takes the client's body."""
        self.body = body

    @abstractmethod
    def chat(self) -> dict[str, Any]:
        """The request as a chat completion.

        Raises:
            RequestRefusedError: a field that is not served, or of a wrong type.
        """

    @abstractmethod
    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer in the API's words."""

    @abstractmethod
    def stream(self, identity: str) -> BlockStream:
        """What translates a streamed answer, piece by piece."""

    @abstractmethod
    def error(self, status: int, error: Mapping[str, Any], identity: str) -> dict[str, Any]:
        """An error in the API's shape.

        Args:
            status: of HTTP.
            error: OpenAI's: ``message``, ``type``, ``param``, ``code``.
            identity: of the call.
        """
