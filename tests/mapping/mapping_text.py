"""Small mapping files made in a test, and what they do with a record."""

import json
from functools import cache
from typing import Any

from trueup.mapping.file import MappingFile, load
from trueup.mapping.outward import Body, Known, outward
from trueup.mapping.translate import Translation, translate


def source(**parts: Any) -> str:
    """Return the text of a mapping file (JSON is YAML); parts replace the usual ones, None leaves a part out."""
    whole = {
        "mapping": "acme.Thing -> customer",
        "version": 1,
        "why": "A test.",
        "key": "id",
        "fields": {"name": {"text": "name"}},
        "examples": [{"is": "one", "in": {"id": 1}}],
    } | parts
    return json.dumps({key: value for key, value in whole.items() if value is not None})


def mapping(fields: dict[str, Any] | None = None, verbs: dict[str, Any] | None = None, **parts: Any) -> MappingFile:
    """Return a loaded mapping file."""
    text = source(**({"fields": fields} if fields is not None else {}), **parts)
    return load(text, verbs) if verbs else _loaded(text)


@cache
def _loaded(text: str) -> MappingFile:
    return load(text)


def outward_mapping(fields: dict[str, Any], **parts: Any) -> MappingFile:
    """Return a loaded outward mapping file."""
    return mapping(fields, mapping="customer -> acme.Thing", key=None, **parts)


def said(line: dict[str, Any], record: dict[str, Any], **parts: Any) -> Any:
    """Return the value one line makes of a record, or the code of its problem as `!code`."""
    one = translated({"field": line}, record, **parts)
    if one.problems:
        (problem,) = one.problems
        assert problem.field == "field"
        assert problem.message
        return f"!{problem.code}"
    return one.values["field"]


def translated(fields: dict[str, Any], record: dict[str, Any], **parts: Any) -> Translation:
    """Return what a mapping of these fields makes of a record with the key 1."""
    (one,) = translate(mapping(fields, **parts), {"id": "1"} | record)
    return one


def told(fields: dict[str, Any], body: dict[str, Any], known: Known = lambda gid, name: None, **parts: Any) -> Body:
    """Return what an outward mapping of these fields makes of a body."""
    return outward(outward_mapping(fields, **parts), body, known)
