"""LiteLLM's administration API as the accounts use it, in memory, with failures on demand."""

import hashlib
import secrets
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request

Sent = Annotated[dict[str, Any], Body()]
MASTER_KEY = "sk-master"
MODELS = ("granite3.3:8b", "llama3.2:3b")


@dataclass
class LiteLLMDouble:
    """What it holds, and which path fails next."""

    teams: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)

    def check(self, path: str) -> None:
        if path in self.failing:
            raise HTTPException(500, {"error": "no database"})

    async def authenticate(self, request: Request) -> SimpleNamespace:
        """Its check of keys, in the shape of its own."""
        text = request.headers.get("authorization", "").removeprefix("Bearer ")
        if text == MASTER_KEY:
            return SimpleNamespace(user_role="proxy_admin", api_key="master", team_metadata=None)
        key = self.keys.get(_hash(text))
        if key is None or key["blocked"]:
            raise HTTPException(401, "no such key")
        metadata = self.teams[key["team_id"]]["metadata"]
        return SimpleNamespace(user_role="internal_user", api_key=key["token"], team_metadata=metadata)

    def app(self) -> FastAPI:  # noqa: C901 - one small function a route
        """The routes."""
        app = FastAPI()

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"data": [{"id": name} for name in MODELS]}

        @app.post("/team/new")
        async def new_team(body: Sent) -> dict[str, Any]:
            if body["team_id"] in self.teams:
                raise HTTPException(400, {"error": "Team id already exists"})
            self.teams[body["team_id"]] = {**body, "spend": 0.0}
            self.check("/team/new")  # as when its answer is lost: the team is there and the caller hears of a failure
            return body

        @app.get("/team/list")
        async def list_teams() -> list[dict[str, Any]]:
            return list(self.teams.values())

        @app.get("/team/info")
        async def team_info(team_id: str) -> dict[str, Any]:
            if team_id not in self.teams:
                raise HTTPException(404, {"message": f"Team not found, passed team id: {team_id}."})
            return {"team_id": team_id, "team_info": self.teams[team_id]}

        @app.post("/team/delete")
        async def delete_team(body: Sent) -> dict[str, Any]:
            self.check("/team/delete")
            for team in body["team_ids"]:
                if self.teams.pop(team, None) is None:
                    raise HTTPException(404, {"error": f"Team not found, passed team_id={team}"})
                self.keys = {token: key for token, key in self.keys.items() if key["team_id"] != team}
            return {}

        @app.post("/key/generate")
        async def new_key(body: Sent) -> dict[str, Any]:
            self.check("/key/generate")
            if any(key["key_alias"] == body["key_alias"] for key in self.keys.values()):
                raise HTTPException(400, {"error": f"Key with alias '{body['key_alias']}' already exists."})
            text = f"sk-{secrets.token_hex(8)}"
            key = {"expires": None, **body, "token": _hash(text), "blocked": False, "spend": 0.0}
            self.keys[key["token"]] = key
            return {**key, "key": text}

        @app.get("/key/list")
        async def list_keys(
            page: int, team_id: str | None = None, key_hash: str | None = None, key_alias: str | None = None
        ) -> dict[str, Any]:
            wanted = {"team_id": team_id, "token": key_hash, "key_alias": key_alias}
            found = [
                key
                for key in self.keys.values()
                if all(value is None or key[name] == value for name, value in wanted.items())
            ]
            return {"keys": found[page - 1 : page], "total_pages": max(1, len(found))}  # a page holds one

        @app.post("/key/block")
        async def block(body: Sent) -> dict[str, Any]:
            self.check("/key/block")
            self.keys[body["key"]]["blocked"] = True
            return {}

        @app.post("/key/delete")
        async def delete(body: Sent) -> dict[str, Any]:
            self.check("/key/delete")
            return {"deleted_keys": [key for key in body["keys"] if self.keys.pop(key, None)]}

        return app


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
