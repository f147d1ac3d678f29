"""The API's own description, OpenAPI 3.1: what FastAPI cannot see, because bodies are read by our own strict reader, is added."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from trueup import __version__
from trueup.entrypoints.api import adjusting, effects, issues, reconcile
from trueup.entrypoints.api.auth import SCOPES
from trueup.entrypoints.api.close import COMMANDS as CLOSE_COMMANDS
from trueup.entrypoints.api.problems import KINDS as PROBLEMS
from trueup.entrypoints.api.problems import MEDIA_TYPE
from trueup.entrypoints.api.process import COMMANDS
from trueup.model.events import Fact
from trueup.model.kinds import KINDS

DESCRIPTION = """
System APIs for every canonical object, process APIs for what a person starts, read models for what a person asks,
and the feed of business events.

* Amounts are decimals in text, days are `2026-08-31`, instants are UTC.
* Lists: `limit`, an opaque `cursor`, and `next`, which is null at the end.
* Every POST and PUT that changes something needs an `Idempotency-Key`; the same key and body get the same answer, marked
  `Idempotency-Replayed: true`.
* Objects have an `ETag`; whoever changes one sends it back as `If-Match`.
* Problems are RFC 9457 `application/problem+json`; their `type` leads to a page that says what to do.
"""

PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "instance", "code", "retryable", "trace_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "enum": sorted(PROBLEMS)},
        "retryable": {"type": "boolean"},
        "trace_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "expected"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901, or `?name` for a query parameter."},
                    "code": {"type": "string"},
                    "got": {},
                    "expected": {"type": "string"},
                },
            },
        },
    },
}
EVENT: dict[str, Any] = {
    "type": "object",
    "title": "CloudEvent",
    "required": ["specversion", "id", "type", "source", "subject", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string"},
        "type": {"type": "string"},
        "source": {"type": "string"},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"type": "string", "format": "uri-reference"},
        "message": {"type": "string", "description": "Number of the message it was made from."},
        "data": {"$ref": "#/components/schemas/Fact"},
    },
}
PAGE: dict[str, Any] = {
    "type": "object",
    "title": "EventPage",
    "required": ["events", "next", "cursor"],
    "properties": {
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/CloudEvent"}},
        "next": {"type": ["string", "null"]},
        "cursor": {"type": ["string", "null"]},
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of an application; it is made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _complete(
            get_openapi(
                title="Trueup", version=__version__, openapi_version="3.1.0", description=DESCRIPTION, routes=app.routes
            )
        )
    return app.openapi_schema


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {"Problem": PROBLEM, "CloudEvent": EVENT, "EventPage": PAGE, "Fact": Fact.model_json_schema()}
    for command in (
        *COMMANDS,
        *CLOSE_COMMANDS,
        *adjusting.COMMANDS,
        *effects.COMMANDS,
        *issues.COMMANDS,
        *reconcile.COMMANDS,
    ):
        _add(schemas, command.__name__, command.model_json_schema(ref_template="#/components/schemas/{model}"))
    for cls in KINDS.values():
        said = cls.model_json_schema(ref_template="#/components/schemas/{model}Said")
        said.pop("required", None)  # whoever speaks of an object says what it knows
        parts = said.pop("$defs", {})
        _add(schemas, f"{cls.__name__}Said", said)
        for name, part in parts.items():
            _add(schemas, f"{name}Said", part)
    problem = {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = problem
    components.setdefault("securitySchemes", {}).setdefault("token", {})["x-scopes"] = SCOPES
    return _short_names(document)


def _short_names(document: dict[str, Any]) -> dict[str, Any]:
    """Name schemas of two rooms that share a name after their files: `ExplainRateLine`, not the whole path."""
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        *rooms, own = name.split("__")
        if rooms:
            text = text.replace(f'{name}"', f'{rooms[-1].title().replace("_", "")}{own}"')
    short: dict[str, Any] = json.loads(text)
    return short


def _add(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
    for part, definition in schema.pop("$defs", {}).items():
        schemas.setdefault(part, definition)
    schemas[name] = schema
