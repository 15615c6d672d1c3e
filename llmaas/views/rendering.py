"""Renders the text templates of ``templates/``; a name that a view forgot is an error, never an empty string."""

from typing import Any

import jinja2

from llmaas.paths import PROJECT_ROOT

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PROJECT_ROOT / "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - configuration files, not HTML
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: Any) -> str:
    """The text of ``template`` with ``values``; ``template`` is a path below ``templates/``."""
    return _ENVIRONMENT.get_template(template).render(**values)
