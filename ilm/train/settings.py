"""Settings of a training away from the pipeline: `settings.json` beside the features, and overrides of it.

`ilm export-features` writes the file from params.yaml, complete and checked. It carries the limits of each setting, so
that an override is checked as strictly where there is no pydantic. No default lives here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilm.errors import ArtifactError, ConfigError
from ilm.files import read_json
from ilm.setting_rules import broken_rules

FILE = "settings.json"

Settings = dict[str, dict[str, Any]]
"""Section -> setting -> value, as in params.yaml."""

_LIMITS: dict[str, Any] = {
    "enum": lambda value, limit: value in limit,
    "minimum": lambda value, limit: value >= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMaximum": lambda value, limit: value < limit,
}
"""The words of JSON Schema by which a setting is limited."""


def read_settings(features: Path, overrides: Sequence[str]) -> Settings:
    """Settings of an exported folder, with overrides such as `finetune.steps=900` or `finetune.mixture.sequential=2`.

    Raises:
        ArtifactError: no settings.json, or one that is damaged.
        ConfigError: overrides name unknown settings or give values of the wrong type or outside the limits; all listed.
    """
    path = features / FILE
    if not path.exists():
        raise ArtifactError(
            f"{path}: not found. Make the folder with `ilm export-features {features}` where the pipeline runs."
        )
    content = read_json(path)
    try:
        settings, limits = dict(content["settings"]), dict(content["limits"])
    except (KeyError, TypeError, ValueError):
        raise ArtifactError(f"{path}: not written by `ilm export-features`. Make the folder anew with it.") from None
    apply_overrides(settings, limits, overrides)
    return settings


def apply_overrides(settings: Settings, limits: Mapping[str, Mapping[str, Any]], overrides: Sequence[str]) -> None:
    """Change settings in place by texts such as `finetune.steps=900`.

    Raises:
        ConfigError: unknown settings, or values of the wrong type or outside the limits; all listed.
    """
    wrong = [message for override in overrides if (message := _override(settings, limits, override))]
    wrong = wrong or broken_rules(settings)
    if wrong:
        raise ConfigError("\n  ".join([f"--set: {len(wrong)} wrong; see docs/settings.md.", *wrong]))


def limits_of(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`section.setting` -> its limits, from the JSON schema of all settings."""
    limits = {}
    for section, entry in schema["properties"].items():
        properties = schema["$defs"][entry["$ref"].rsplit("/", 1)[-1]]["properties"]
        for name, words in properties.items():
            limits[f"{section}.{name}"] = {word: limit for word, limit in words.items() if word in _LIMITS}
    return {name: words for name, words in limits.items() if words}


def _override(settings: Settings, limits: Mapping[str, Mapping[str, Any]], override: str) -> str | None:
    """Apply one override in place; returns what is wrong with it instead, if anything."""
    name, equals, text = override.partition("=")
    *parents, last = name.split(".")
    place: Any = settings
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not equals or not parents or not isinstance(place, dict) or last not in place:
        return f"{override}: not of the form section.setting=value with a known setting"
    value, present = _parsed(text), place[last]
    if type(present) is float and type(value) is int:
        value = float(value)
    if type(value) is not type(present) and isinstance(present, str):
        value = text  # a name that looks like a number
    if type(value) is not type(present):
        return f"{override}: must be of type {type(present).__name__}, such as {json.dumps(present)}"
    for word, limit in limits.get(name, {}).items():
        if not _LIMITS[word](value, limit):
            return f"{override}: must keep to {word} {json.dumps(limit)}"
    place[last] = value
    return None


def _parsed(text: str) -> Any:
    """A JSON value, or the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
