"""A firm's workspace and the environment, read once into frozen settings; says where each value came from.

A workspace is a folder kept in git and safe to show on a projector: `trueup.yaml`, `entities/`, `mappings/`,
`ownership.yaml`, `connectors/`. Secrets are references: `secret://env/NAME` or `secret://file/path#dotted.key`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PREFIX = "TRUEUP_"


class SettingsError(Exception):
    """The workspace or the environment is wrong; the text says where and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EntitySettings(_Part):
    """One legal entity, `entities/CODE.yaml`. `sells_to` lists countries it is registered to sell into.

    From `adjustment_limit` on, in the currency of the facts, a second person has to agree to an adjustment.
    """

    code: str = Field(pattern=r"^[A-Z0-9]{2,12}$")
    name: str
    country: str = Field(pattern=r"^[A-Z]{2}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    sells_to: list[str]
    adjustment_limit: Decimal = Decimal(0)


class PackageSettings(_Part):
    """One entry of the price book."""

    name: str
    practice: str | None = None
    department: str | None = None
    billing_methods: list[str]
    revenue_method: str
    phases: list[str] = []


class SystemSettings(_Part):
    """One connected system. Credentials are secret references; nothing secret stands in the file.

    per_second, concurrency  our share of the account's limits; absent takes the connector's own
    """

    connector: str
    base_url: str = ""
    token_url: str = ""
    credentials: dict[str, str] = {}
    webhook_secret: str = ""
    options: dict[str, str] = {}
    poll_seconds: float = Field(default=60, gt=0)
    per_second: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, gt=0)


class File(_Part):
    """`trueup.yaml`."""

    company: str
    database: str = "embedded"
    listen: str = "127.0.0.1:8787"
    packages: dict[str, PackageSettings]
    systems: dict[str, SystemSettings]
    owners: dict[str, str] = {}


@dataclass(frozen=True)
class Settings:
    """Everything that can be set.

    workspace  folder of the firm's files
    home       folder of the hub's own data (embedded database, tokens of the demo)
    origin     setting -> where its value came from
    """

    workspace: Path
    home: Path
    company: str
    database: str
    host: str
    port: int
    entities: Mapping[str, EntitySettings]
    packages: Mapping[str, PackageSettings]
    systems: Mapping[str, SystemSettings]
    owners: Mapping[str, str]
    ownership: str | None
    overlays: Mapping[str, str]
    connector_folders: tuple[Path, ...]
    origin: Mapping[str, str] = field(default_factory=dict)

    def secret(self, reference: str) -> str:
        """Return the value behind a secret reference; a text that is none is refused.

        Raises    SettingsError naming the reference, never the value.
        """
        if not reference:
            return ""
        kind, _, rest = reference.removeprefix("secret://").partition("/")
        if not reference.startswith("secret://") or kind not in ("env", "file"):
            raise SettingsError("a credential must be a reference: secret://env/NAME or secret://file/path#key")
        if kind == "env":
            if rest not in os.environ:
                raise SettingsError(f"{reference}: the environment variable {rest} is not set")
            return os.environ[rest]
        name, _, dotted = rest.partition("#")
        path = (self.workspace / name).resolve()
        try:
            text = path.read_text("utf-8")
            value: Any = json.loads(text) if dotted else text.strip()
            for part in dotted.split(".") if dotted else ():
                value = value[part]
        except (OSError, ValueError, KeyError, TypeError) as wrong:
            raise SettingsError(f"{reference}: {type(wrong).__name__}") from wrong
        return str(value)


def load(workspace: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read a workspace and `TRUEUP_*`.

    Raises    SettingsError with file, key, what is wrong, and the nearest known key.
    """
    environment = os.environ if environment is None else environment
    workspace = Path(environment.get(f"{PREFIX}WORKSPACE", workspace)).resolve()
    path = workspace / "trueup.yaml"
    if not path.is_file():
        raise SettingsError(
            f"there is no trueup.yaml in {workspace.name or workspace}; make one with `trueup new NAME`"
        )
    file = _read(path, File)
    entities = {}
    for one in sorted((workspace / "entities").glob("*.yaml")):
        entity = _read(one, EntitySettings)
        entities[entity.code] = entity
    if not entities:
        raise SettingsError("entities/: at least one legal entity is needed")
    origin = {"company": "trueup.yaml", "entities": "entities/", "systems": "trueup.yaml", "packages": "trueup.yaml"}
    database, listen = file.database, file.listen
    origin["database"] = origin["listen"] = "trueup.yaml"
    for name in ("DATABASE", "LISTEN"):
        if f"{PREFIX}{name}" in environment:
            origin[name.lower()] = f"environment {PREFIX}{name}"
    database = environment.get(f"{PREFIX}DATABASE", database)
    listen = environment.get(f"{PREFIX}LISTEN", listen)
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise SettingsError(f"listen: {listen!r} is not HOST:PORT")
    ownership = workspace / "ownership.yaml"
    home = Path(environment.get(f"{PREFIX}HOME", workspace / ".trueup")).resolve()
    return Settings(
        workspace=workspace,
        home=home,
        company=file.company,
        database=database,
        host=host or "127.0.0.1",
        port=int(port),
        entities=entities,
        packages=file.packages,
        systems=file.systems,
        owners=file.owners,
        ownership=ownership.read_text("utf-8") if ownership.is_file() else None,
        overlays={
            f"{one.parent.name}/{one.name}": one.read_text("utf-8")
            for one in sorted((workspace / "mappings").glob("*/*.yaml"))
        },
        connector_folders=(workspace / "connectors",) if (workspace / "connectors").is_dir() else (),
        origin=origin,
    )


def _read(path: Path, shape: type[Any]) -> Any:
    where = f"{path.parent.name}/{path.name}" if path.name != "trueup.yaml" else path.name
    try:
        return shape.model_validate(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    except YAMLError as wrong:
        raise SettingsError(f"{where}: {wrong}") from wrong
    except ValidationError as wrong:
        first = wrong.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        near = get_close_matches(str(first["loc"][-1]), list(shape.model_fields), 1) if first["loc"] else []
        hint = f"; did you mean {near[0]}?" if near and first["type"] == "extra_forbidden" else ""
        raise SettingsError(f"{where}: {key}: {first['msg']}, got {first['input']!r}{hint}") from wrong


def schema() -> dict[str, Any]:
    """Return the JSON Schema of trueup.yaml, for editors."""
    return File.model_json_schema()
