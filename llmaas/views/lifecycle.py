"""What the gateway says of each model's life: one file for all days, so that no day needs a new deployment."""

import json
from datetime import date, timedelta
from typing import Any, Final

from llmaas.planning.lifecycle import api_view
from llmaas.settings import Platform

# the file's name beside the gateway's other files
FILE_NAME: Final = "lifecycle.json"


def lifecycle_file(platform: Platform) -> str:
    """JSON for ``llmaas_gateway.lifecycle``: ``{"periods": [{"from": day, "models": {name: view}}, ...]}``.

    Each period holds from its day (UTC) until the next one begins; the first begins with the calendar. A view is that
    of ``llmaas.planning.lifecycle.api_view``. The same stack file gives the same text on every day.
    """
    days = [date.min, *sorted(_turning_days(platform))]
    periods: list[dict[str, Any]] = []
    for day in days:
        models = api_view(platform, day)
        if not periods or periods[-1]["models"] != models:
            periods.append({"from": day.isoformat(), "models": models})
    return json.dumps({"periods": periods}, indent=1, sort_keys=True) + "\n"


def _turning_days(platform: Platform) -> set[date]:
    """Days on which a model becomes stable or deprecated, or is served no more."""
    days: set[date] = set()
    for model in platform.models:
        days |= {day for day in (model.production_date, model.announced) if day is not None}
        if model.end_of_support is not None and model.end_of_support < date.max:
            days.add(model.end_of_support + timedelta(days=1))
    return days
