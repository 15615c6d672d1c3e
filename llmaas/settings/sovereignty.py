"""Where data lies, how long records are kept, and which exceptions from the policies are granted."""

from typing import Annotated, Literal

from pydantic import Field

from llmaas.settings.types import CountryCode, Day, Section

_COUNTRY = 'the ISO 3166 code of the country it stands in, such as FR (quote "NO")'
_Days = Annotated[int, Field(ge=1, le=36_600)]
_Reason = Annotated[str, Field(min_length=1, max_length=500)]


class State(Section):
    """What keeps Pulumi's state; never a service of others."""

    backend: Literal["file", "s3", "postgres"] = Field(
        description="file (the disk of the machine that deploys), s3 or postgres (the site's own)"
    )
    country: CountryCode | None = Field(default=None, description=_COUNTRY)


class Backup(Section):
    """Where backups of the data stores go."""

    target: Literal["none", "file", "s3", "sftp"] = Field(
        description="none (nothing is kept, as in a lab), file, s3 or sftp (the site's own)"
    )
    country: CountryCode | None = Field(default=None, description=_COUNTRY)


class Period(Section):
    """How long records of a kind are kept, and what the law says about it."""

    days: _Days = Field(description="how many days records are kept, at least 1")
    least_days: _Days = Field(description="the fewest days that the law allows, at least 1")
    most_days: _Days = Field(description="the most days that the law allows, at least 1")
    source: _Reason = Field(description="the law or requirement that the bounds come from")


class AccountsPeriod(Period):
    """The same of accounts, counted from the end of the financial year that a month belongs to."""

    financial_year_ends: Annotated[int, Field(ge=1, le=12)] = Field(
        default=12, description="the number of the month that closes the financial year, 1 to 12"
    )


class Retention(Section):
    """How long what is recorded of tenants and administrators is kept; prompts and answers are never kept."""

    request_metadata: Period = Field(description="a mapping with days, least_days, most_days and source")
    logs: Period = Field(description="a mapping with days, least_days, most_days and source")
    audit: Period = Field(description="a mapping with days, least_days, most_days and source")
    accounts: AccountsPeriod = Field(
        description="a mapping with days (from the end of the financial year), least_days, most_days, source and, for a"
        " year that does not end with December, financial_year_ends"
    )


class Waiver(Section):
    """An exception from one policy for one object, with its reason and its last day."""

    rule: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")] = Field(
        description="the rule's name as docs/policies.md gives it, such as no-host-path"
    )
    resource: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+ \S+$")] = Field(
        description="the object as refusals name it, such as DaemonSet llmaas-monitoring/node-exporter"
    )
    reason: _Reason = Field(description="why the exception is needed")
    expires: Day = Field(description="the last day it holds, as 2026-12-31, a year ahead at most")
