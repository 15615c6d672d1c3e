"""What the accounts ask of LiteLLM: its teams and keys, by its own administration API."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from llmaas_gateway.error_words import words_of

_PAGE_SIZE: Final = 100


class LiteLLMError(Exception):
    """LiteLLM did not do what it was asked; its own words.

    Attributes:
        status: of its answer; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        """Takes what is told."""
        super().__init__(message)
        self.status = status


class LiteLLM:
    """LiteLLM's administration API, reached inside the same process or over a network."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        """Takes a client that carries the master key."""
        self._http = http

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> Any:
        try:
            answer = await self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise LiteLLMError(f"{path}: no answer ({type(error).__name__})") from error
        if not answer.is_success:
            raise LiteLLMError(f"{path} answered {answer.status_code}: {words_of(answer)}", answer.status_code)
        return answer.json()

    async def models(self) -> frozenset[str]:
        """Names of the models that are served."""
        return frozenset(str(model["id"]) for model in (await self._call("GET", "/v1/models"))["data"])

    async def create_team(self, team: str, alias: str, models: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Make a team; no models means every model."""
        body = {"team_id": team, "team_alias": alias, "models": list(models), "metadata": dict(metadata)}
        await self._call("POST", "/team/new", body)

    async def team(self, team: str) -> dict[str, Any] | None:
        """A team as LiteLLM has it; None where it has none of that identifier."""
        try:
            answer = await self._call("GET", "/team/info", query={"team_id": team})
        except LiteLLMError as error:
            if error.status == 404:
                return None
            raise
        return dict(answer["team_info"])

    async def delete_team(self, team: str) -> None:
        """Remove a team with its keys; one that is not there is no error."""
        try:
            await self._call("POST", "/team/delete", {"team_ids": [team]})
        except LiteLLMError as error:
            if error.status != 404:
                raise

    async def teams(self) -> list[dict[str, Any]]:
        """All teams as LiteLLM has them."""
        return list(await self._call("GET", "/team/list"))

    async def keys(self, **filters: str) -> list[dict[str, Any]]:
        """Keys as LiteLLM has them, named by their hash, never their text.

        Args:
            filters: ``team_id``, ``key_hash`` or ``key_alias``, exact; without any, all keys.
        """
        found: list[dict[str, Any]] = []
        page = pages = 1
        while page <= pages:
            query = {"return_full_object": "true", "page": str(page), "size": str(_PAGE_SIZE), **filters}
            answer = await self._call("GET", "/key/list", query=query)
            found += answer["keys"]
            pages = int(answer.get("total_pages") or 1)
            page += 1
        return found

    async def create_key(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key from LiteLLM's own fields; its answer has the text under ``key``, the hash under ``token``."""
        return dict(await self._call("POST", "/key/generate", body))

    async def block_key(self, key: str) -> None:
        """Make a key useless: here at once, at other replicas as soon as they hear of it or look (``revocation``)."""
        await self._call("POST", "/key/block", {"key": key})

    async def delete_key(self, key: str) -> None:
        """Remove a key; block it first."""
        answer = await self._call("POST", "/key/delete", {"keys": [key]})
        if not answer.get("deleted_keys"):
            raise LiteLLMError(f"/key/delete removed nothing: {answer}")
