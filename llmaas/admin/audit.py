"""Fetches an export of the audit from the gateway and writes it as files, all of them or none."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import httpx
from llmaas_gateway.error_words import words_of

from llmaas.admin.calls import MESSAGE_LENGTH, AdminError, Calls
from llmaas.admin.gateway import Gateway

EXPORT: Final = "/llmaas/audit/export"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*\.jsonl")
# An export of years is read piece by piece; only its silence is limited.
_SILENCE_SECONDS: Final = 300.0


def fetch_export(http: httpx.Client, folder: Path, *, since: date, until: date, tenant: str | None) -> tuple[Path, ...]:
    """Write what was recorded from ``since`` to the day before ``until`` (UTC) into a new folder; its files.

    Args:
        http: of the administration listener, with its key.
        folder: is made; must not be there.
        since: the first day.
        until: the day after the last one.
        tenant: by identifier or name; None for everything.

    Raises:
        AdminError: no answer, a refusal, an answer that was cut, a place where nothing can be written; the folder was
            not made.
    """
    if os.path.lexists(folder):
        raise AdminError(f"{folder} is there already; choose another --into")
    query = {"since": since.isoformat(), "until": until.isoformat()}
    if tenant is not None:
        query["tenant"] = str(Gateway(Calls(http)).tenant(tenant)["tenant"])
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        with http.stream("GET", EXPORT, params=query, timeout=_SILENCE_SECONDS) as answer:
            if not answer.is_success:
                answer.read()
                raise AdminError(f"{EXPORT} answered {answer.status_code}: {words_of(answer, MESSAGE_LENGTH)}")
            names = _write(_lines(answer.iter_bytes()), temporary)
        temporary.rename(folder)
    except httpx.HTTPError as error:
        raise AdminError(f"no answer from {http.base_url}: {error}; check LLMAAS_ADMIN_URL") from error
    except OSError as error:
        raise AdminError(f"{error.filename or folder}: {error.strerror}; choose another --into") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return tuple(folder / name for name in names)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """Lines by their line feeds alone: a text may hold what Unicode counts as the end of a line."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode()
    if rest:
        yield rest.decode(errors="replace")


def _write(lines: Iterator[str], folder: Path) -> list[str]:
    names: list[str] = []
    file = None
    ended = False
    try:
        for line in lines:
            if line == '{"end":true}':
                ended = True
            elif line.startswith('{"file":'):
                if file is not None:
                    file.close()
                names.append(_name(line))
                file = (folder / names[-1]).open("x", encoding="utf-8", newline="\n")
            elif file is None:
                raise AdminError(f"{EXPORT} answered no export; is the gateway of another version?")
            else:
                file.write(f"{line}\n")
    finally:
        if file is not None:
            file.close()
    if not ended:
        raise AdminError("the export was cut before its end; nothing was kept, try again")
    return names


def _name(line: str) -> str:
    name = str(json.loads(line)["file"])
    if not _NAME.fullmatch(name):
        raise AdminError(f"the export names a file {name!r}; nothing was kept")
    return name
