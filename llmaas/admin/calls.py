"""One call of the administration API, with its errors in plain words."""

from collections.abc import Mapping
from typing import Any, Final

import httpx
from llmaas_gateway.error_words import words_of

# Characters of a refusal's message that are shown: the gateway's own may name several mistakes.
MESSAGE_LENGTH: Final = 1000


class AdminError(Exception):
    """What went wrong and what to do about it."""


class NotThereError(AdminError):
    """The address has no such route, or nothing of that name."""


class Calls:
    """Calls over one connection."""

    def __init__(self, http: httpx.Client) -> None:
        """Takes a client that carries the administration key."""
        self.http = http

    def __call__(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float | None = None,
    ) -> Any:
        """What a call answers, from its JSON, within the connection's time limit or so many seconds.

        Raises:
            AdminError: no answer, a refusal, or no JSON; the gateway's own words.
        """
        where = f"{str(self.http.base_url).rstrip('/')}{path}"
        try:
            answer = self.http.request(
                method, path, json=body, params=query, timeout=self.http.timeout if seconds is None else seconds
            )
        except httpx.HTTPError as error:
            raise AdminError(
                f"no answer from {where}: {error}; check LLMAAS_ADMIN_URL and that this machine is a bastion"
            ) from error
        if answer.status_code in {401, 403}:
            raise AdminError(f"{where} refused the administration key; check LLMAAS_ADMIN_KEY")
        if answer.status_code in {404, 405}:
            raise NotThereError(f"{where} answered {answer.status_code}: {words_of(answer, MESSAGE_LENGTH)}")
        if not answer.is_success:
            raise AdminError(f"{where} answered {answer.status_code}: {words_of(answer, MESSAGE_LENGTH)}")
        try:
            return answer.json()
        except ValueError as error:
            raise AdminError(f"{where} answered no JSON; is LLMAAS_ADMIN_URL the administration listener?") from error
