"""Who may administer: the holder of the master key, by the name that the command line gives."""

import re
from typing import Annotated, Final

from fastapi import Depends, Header, HTTPException

from llmaas_gateway.api.services import Authenticate, Caller

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def operator(authenticate: Authenticate) -> object:
    """A dependency: the actor of an administrative act; 403 for every key but the master key."""

    async def checked(
        caller: Annotated[Caller, Depends(authenticate)],
        x_llmaas_operator: Annotated[str, Header()] = "master-key",
    ) -> str:
        if getattr(caller.user_role, "value", caller.user_role) != "proxy_admin":
            raise HTTPException(403, "only the administration key may do this")
        if not _NAME.fullmatch(x_llmaas_operator):
            raise HTTPException(400, "X-Llmaas-Operator: take letters, digits and . _ @ -, at most 64")
        return f"operator:{x_llmaas_operator}"

    return Depends(checked)
