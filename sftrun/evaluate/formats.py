"""Whether an answer is a file of its kind, by the parser of that kind; Markdown's fences around it are taken off.

A metric of a kind counts the rows whose expected answer is of that kind, so that one data set may have several.
"""

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from sftrun.evaluate.dockerfiles import instructions, is_dockerfile
from sftrun.evaluate.texts import unfenced

MOST_CHARACTERS: Final = 200_000


def is_json(text: str) -> bool:
    """An object or a list: a bare word or number is no file."""
    return json_of(text) is not None


def json_of(text: str) -> Any:
    """The object or list that a text is; None for what is neither."""
    try:
        found = json.loads(unfenced(text).strip(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def matches(text: str, schema: Any) -> bool:
    """Whether it is JSON that a JSON Schema takes."""
    found = json_of(text)
    return found is not None and bool(_validator(json.dumps(schema, sort_keys=True)).is_valid(found))


def is_yaml(text: str) -> bool:
    """Mappings or lists, one document or several; a sentence is YAML too, and no file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    body = unfenced(text)
    if len(body) > MOST_CHARACTERS:
        return False
    try:
        found = list(YAML(typ="safe", pure=True).load_all(body))
    except (YAMLError, ValueError, RecursionError, AttributeError, TypeError, KeyError):
        return False
    return any(found) and all(isinstance(part, dict | list) for part in found if part is not None)


def is_toml(text: str) -> bool:
    """At least one key of TOML 1.0."""
    import tomllib

    try:
        return bool(tomllib.loads(unfenced(text)))
    except (ValueError, RecursionError):
        return False


def is_hcl(text: str) -> bool:
    """Terraform's language, by python-hcl2."""
    body = unfenced(text).strip()
    if not body or len(body) > MOST_CHARACTERS:
        return False
    try:
        return bool(_hcl()(body + "\n"))
    except Exception:  # a parser's own tree of errors, and what it forgets to catch
        return False


def is_docker(text: str) -> bool:
    """A Dockerfile."""
    return is_dockerfile(unfenced(text))


def is_docker_part(text: str) -> bool:
    """Instructions of one, with or without FROM."""
    return is_dockerfile(unfenced(text), is_part=True)


def begins_an_image(text: str) -> bool:
    """Whether it has a FROM at all."""
    try:
        return any(name == "FROM" for name, _ in instructions(unfenced(text)))
    except ValueError:
        return True


@cache
def _hcl() -> Callable[[str], Any]:
    import hcl2

    loads: Callable[[str], Any] = hcl2.loads
    return loads


@cache
def _validator(schema: str) -> Any:
    from jsonschema.validators import validator_for

    told = json.loads(schema)
    return validator_for(told)(told)


def _refuse(name: str) -> None:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
