"""Puts a placement into a stack file and leaves every other character of it alone."""

from collections.abc import Mapping

import yaml

from llmaas.settings.errors import Problem, SettingsError


def with_placements(name: str, text: str, placement: Mapping[str, Mapping[str, int]]) -> str:
    """The text of a stack file with the ``placement`` of these models replaced; ``name`` stands in error texts."""
    spots: list[tuple[int, int, str]] = []
    for model in _models(name, text):
        keys = {key.value: value for key, value in model.value}
        title, node = keys.get("name"), keys.get("placement")
        if title is None or node is None or title.value not in placement:
            continue
        hosts = ", ".join(f"{host}: {number}" for host, number in sorted(placement[title.value].items()))
        start, end = node.start_mark.index, node.end_mark.index
        if not node.flow_style:
            # a block mapping ends where the next key begins, and starts on a line of its own
            trailing = len(text[start:end]) - len(text[start:end].rstrip())
            start, end = text.rindex(":", 0, start) + 1, end - trailing
            hosts = f" {{{hosts}}}"
        else:
            hosts = f"{{{hosts}}}"
        spots.append((start, end, hosts))
    for start, end, new in sorted(spots, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _models(name: str, text: str) -> list[yaml.MappingNode]:
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(document, yaml.MappingNode):
        for key, value in document.value:
            if key.value == "config" and isinstance(value, yaml.MappingNode):
                for section, models in value.value:
                    if section.value == "llmaas:models" and isinstance(models, yaml.SequenceNode):
                        return [model for model in models.value if isinstance(model, yaml.MappingNode)]
    raise SettingsError(name, [Problem("llmaas:models", "is missing; there is no placement to write")])
