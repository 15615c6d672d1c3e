"""What the command line asks of the gateway's own routes: tenants with tiers, usage, invoices, reconciliation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
from llmaas_gateway.error_words import words_of

from llmaas.admin.calls import MESSAGE_LENGTH, AdminError, Calls

Answer = dict[str, Any]

# What goes over all records of a month may take minutes.
_SUM_SECONDS: Final = 1800.0
# An export begins once its records were found; then it is read piece by piece, and only its silence is limited.
_SILENCE_SECONDS: Final = 300.0


class Gateway:
    """The routes below ``/llmaas``; answers are as the gateway gives them, amounts decimal strings of euros."""

    def __init__(self, calls: Calls) -> None:
        """Takes the connection."""
        self._call = calls

    def tiers(self) -> list[Answer]:
        """The tiers that are sold."""
        return list(self._call("GET", "/llmaas/tiers"))

    def tenants(self) -> list[Answer]:
        """All tenants, the erased last."""
        return list(self._call("GET", "/llmaas/tenants"))

    def tenant(self, tenant: str) -> Answer:
        """A tenant by identifier or name."""
        return dict(self._call("GET", _path(tenant)))

    def create_tenant(self, body: Mapping[str, Any]) -> Answer:
        """A tenant; a prepaid one begins with what its tier costs unless another first payment is given."""
        return dict(self._call("POST", "/llmaas/tenants", body))

    def set_tier(self, tenant: str, tier: str) -> Answer:
        """Another tier from now on."""
        return dict(self._call("PUT", f"{_path(tenant)}/tier", {"tier": tier}))

    def set_budget(self, tenant: str, budget_eur: str | None) -> Answer:
        """The most it may spend in a calendar month; None for what its tier allows."""
        return dict(self._call("PUT", f"{_path(tenant)}/budget", {"budget_eur": budget_eur}))

    def suspend(self, tenant: str) -> Answer:
        """Refuse the tenant's calls."""
        return dict(self._call("POST", f"{_path(tenant)}/suspend"))

    def resume(self, tenant: str) -> Answer:
        """Admit them again."""
        return dict(self._call("POST", f"{_path(tenant)}/resume"))

    def top_up(self, tenant: str, amount_eur: str, reference: str) -> Answer:
        """Book a payment, once; of one that was booked before, ``booked_before`` says when."""
        return dict(self._call("POST", f"{_path(tenant)}/payments", {"amount_eur": amount_eur, "reference": reference}))

    def payments(self, tenant: str) -> list[Answer]:
        """What was paid and what was taken back, in its order."""
        return list(self._call("GET", f"{_path(tenant)}/payments"))

    def take_back(self, tenant: str, payment: str, reference: str) -> Answer:
        """Take a payment's credit away again, once; ``taken_back_before`` says when that was, if it was before."""
        body = {"payment": payment, "reference": reference}
        return dict(self._call("POST", f"{_path(tenant)}/payments/taken-back", body))

    def create_team(self, tenant: str, body: Mapping[str, Any]) -> Answer:
        """A further team."""
        return dict(self._call("POST", f"{_path(tenant)}/teams", body))

    def erase(self, tenant: str, confirm: str) -> Answer:
        """Remove the tenant's personal data for good."""
        return dict(self._call("POST", f"{_path(tenant)}/erase", {"confirm": confirm}))

    def export(self, tenant: str, path: Path) -> None:
        """Write everything that is held on a tenant to a new file that only its owner reads.

        Raises:
            AdminError: the file is there already, or no whole answer came; then there is no file.
        """
        with _new_file(path) as part:
            try:
                with self._call.http.stream("GET", f"{_path(tenant)}/export", timeout=_SILENCE_SECONDS) as answer:
                    if not answer.is_success:
                        answer.read()
                        raise AdminError(f"export answered {answer.status_code}: {words_of(answer, MESSAGE_LENGTH)}")
                    with part.open("wb") as file:
                        for piece in answer.iter_bytes():
                            file.write(piece)
            except httpx.HTTPError as error:
                raise AdminError(f"the export broke off: {error}; nothing was kept") from error

    def create_key(self, tenant: str, body: Mapping[str, Any]) -> Answer:
        """A key; the only answer that has its text."""
        return dict(self._call("POST", f"{_path(tenant)}/keys", body))

    def rotate_key(self, key: str) -> Answer:
        """A new key in place of another; the only answer that has its text."""
        return dict(self._call("POST", f"/llmaas/keys/{quote(key, safe='')}/rotate"))

    def revoke_key(self, key: str) -> Answer:
        """Make a key useless for good."""
        return dict(self._call("POST", f"/llmaas/keys/{quote(key, safe='')}/revoke"))

    def usage(self, query: Mapping[str, str]) -> Answer:
        """Sums of calls, by what the query says."""
        return dict(self._call("GET", "/llmaas/usage", query=query, seconds=_SUM_SECONDS))

    def invoice(self, tenant: str, month: str) -> Answer:
        """The invoice if it was issued, else a draft of it."""
        return dict(self._call("GET", f"{_path(tenant)}/invoices/{quote(month, safe='')}", seconds=_SUM_SECONDS))

    def issue_invoice(self, tenant: str, month: str) -> Answer:
        """The invoice of a closed month."""
        return dict(self._call("POST", f"{_path(tenant)}/invoices/{quote(month, safe='')}", seconds=_SUM_SECONDS))

    def replay_invoice(self, tenant: str, month: str) -> Answer:
        """Every record of a closed month charged anew, and where the invoice says otherwise."""
        return dict(self._call("GET", f"{_path(tenant)}/invoices/{quote(month, safe='')}/replay", seconds=_SUM_SECONDS))

    def reconcile(self) -> Answer:
        """Compare everything that counts money."""
        return dict(self._call("GET", "/llmaas/reconciliation", seconds=_SUM_SECONDS))


def _path(tenant: str) -> str:
    return f"/llmaas/tenants/{quote(tenant, safe='')}"


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A part file that becomes the file once the block has ended well."""
    if path.exists():
        raise AdminError(f"{path} is there already; choose another --into")
    part = path.with_name(f".{path.name}.part")
    try:
        part.touch(mode=0o600)
        yield part
        part.rename(path)
    except OSError as error:
        raise AdminError(f"{path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
