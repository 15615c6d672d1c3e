"""Errors of the accounts as answers in OpenAI's shape; what was asked for either happened whole or not at all."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.accounts.database import DatabaseBusyError, DatabaseConflictError, DatabaseUnavailableError
from llmaas_gateway.accounts.directory import DirectoryUnavailableError, UnknownTenantError
from llmaas_gateway.accounts.litellm import LiteLLMError
from llmaas_gateway.audit.records import ActError
from llmaas_gateway.invoices.issuing import MonthNotClosedError
from llmaas_gateway.invoices.kept import PeriodOverError
from llmaas_gateway.ledger.ledger import LedgerUnavailableError
from llmaas_gateway.money import MoneyError

# The more particular before the more general.
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (UnknownTenantError, 404, "not_found"),
    (MonthNotClosedError, 409, "month_not_closed"),
    (PeriodOverError, 410, "period_over"),
    (AccountError, 400, "invalid_request"),
    (MoneyError, 400, "invalid_amount"),
    (ActError, 400, "invalid_request"),
    (LiteLLMError, 502, "litellm"),
    (DatabaseBusyError, 503, "busy"),
    (DatabaseConflictError, 503, "busy"),
    (DatabaseUnavailableError, 503, "unavailable"),
    (DirectoryUnavailableError, 503, "unavailable"),
    (LedgerUnavailableError, 503, "unavailable"),
)
_RETRY_AFTER = {"busy": {"Retry-After": "30"}}


def answer(status: int, code: str, message: str) -> JSONResponse:
    """An error object as OpenAI's clients know it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": code}}, status, _RETRY_AFTER.get(code)
    )


def _fields(error: RequestValidationError) -> str:
    """Every field that is wrong, with its place."""
    return "; ".join(f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors())


class Route(APIRoute):
    """A route whose errors are told, whatever the application around it does with errors."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the errors of the accounts turned into answers."""
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                return answer(400, "invalid_request", _fields(error))
            except HTTPException as error:
                return answer(error.status_code, "refused", str(error.detail))
            except Exception as error:
                if isinstance(error, LiteLLMError) and error.status in range(400, 500):
                    return answer(400, "litellm", str(error))  # what was asked for is wrong, not LiteLLM
                for kind, status, code in _STATUS:
                    if isinstance(error, kind):
                        return answer(status, code, str(error))
                raise

        return told
