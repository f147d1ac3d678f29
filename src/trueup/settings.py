"""A firm's workspace and the environment, read once into frozen settings; says where each value came from.

A workspace is a folder kept in git and safe to show on a projector: `trueup.yaml`, `entities/`, `mappings/`,
`schedules/`, `ownership.yaml`, `connectors/`. Secrets are references: `secret://env/NAME` or `secret://file/path#dotted.key`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PREFIX = "TRUEUP_"


class SettingsError(Exception):
    """The workspace or the environment is wrong; the text says where and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EntitySettings(_Part):
    """One legal entity, `entities/CODE.yaml`.

    sells_to            countries it is registered to sell into
    numbering           who numbers its invoices and credits: the ERP, or the hub when the ERP confirms the posting
    number_prefixes     document type -> what stands before the ordinal, with {entity} and {year}
    number_digits       the ordinal is written with at least this many
    fiscal_year_starts  month in which its fiscal years begin; a year is named by the calendar year it begins in
    close_blocks        items of the month-end checklist whose findings must be accepted before the month is closed
    bounds              limits outside of which an invoice is held, by name; null switches one off
                        (see `billing.brakes.Bounds`)
    """

    code: str = Field(pattern=r"^[A-Z0-9]{2,12}$")
    name: str
    country: str = Field(pattern=r"^[A-Z]{2}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    sells_to: list[str]
    numbering: Literal["erp", "hub"] = "erp"
    number_prefixes: dict[Literal["invoice", "credit"], str] = {}
    number_digits: int = Field(default=6, ge=1, le=12)
    fiscal_year_starts: int = Field(default=1, ge=1, le=12)
    close_blocks: list[
        Literal["unapproved", "holds", "unbilled", "drafts", "tie_out", "accruals", "revenue", "journals", "numbers"]
    ] = []

    @field_validator("number_prefixes")
    @classmethod
    def _prefixes_tell_years_apart(cls, given: dict[str, str]) -> dict[str, str]:
        for kind, pattern in given.items():
            rest = pattern.replace("{entity}", "").replace("{year}", "")
            if "{year}" not in pattern or "{" in rest or "}" in rest:
                raise ValueError(
                    f"the prefix of {kind} needs {{year}}, may have {{entity}}, and nothing else in braces"
                )
        if len(set(given.values())) < len(given):
            raise ValueError("two document types have the same prefix: their numbers would meet")
        return given

    bounds: dict[str, int | bool | None] = {}


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


class PriceSettings(_Part):
    """What a whole period of service costs from a day on."""

    valid_from: date
    price: Decimal = Field(ge=0)


def _as_written(value: object) -> object:
    """Take a number as its digits stand in the file: 0.35 is 35/100, not the float nearest to it."""
    return str(value) if isinstance(value, float) else value


class ProgressSettings(_Part):
    """How far the work had come on a day: `0.35` or `1/3`."""

    on: date
    share: Annotated[Fraction, BeforeValidator(_as_written)] = Field(ge=0, le=1)


class ScheduleSettings(_Part):
    """How one contract line is billed by the calendar or by progress, `schedules/*.yaml`.

    kind          instalments, percent_complete or service_period
    starts_on     month of the first instalment, or first day of service
    ends_on       last day of service, counted
    amount        to be billed in all; absent takes the amount of the contract line with its change orders
    anchor_day    day of the month on which a period of service begins; 31 is the last day of every month
    lead_days     service billed in advance: so many days before the period begins
    prices        service: price of a whole period, from the first day of service on
    progress      percent complete: statements, each with its day
    """

    line: str
    kind: Literal["instalments", "percent_complete", "service_period"]
    starts_on: date
    ends_on: date | None = None
    amount: Decimal | None = Field(default=None, ge=0)
    count: int = Field(default=1, ge=1)
    every_months: int = Field(default=1, ge=1)
    anchor_day: int = Field(default=1, ge=1, le=31)
    due: Literal["advance", "arrears"] = "arrears"
    lead_days: int = Field(default=0, ge=0)
    proration: Literal["actual_days", "thirty_360", "whole_month", "none"] = "actual_days"
    prices: list[PriceSettings] = []
    progress: list[ProgressSettings] = []


class TransferPriceSettings(_Part):
    """One transfer price: what a lender charges a borrower from a day on.

    value  0.1 for 10 % (cost_plus, share), or an amount per hour in the lender's currency (fixed)
    """

    lender: str
    borrower: str
    rule: Literal["cost_plus", "share", "fixed"]
    value: Decimal = Field(ge=0, max_digits=15, decimal_places=6)
    valid_from: date


class Intercompany(_Part):
    """`intercompany.yaml`; a firm without it lends nobody."""

    transfer_prices: list[TransferPriceSettings] = []


class FxRateSettings(_Part):
    """One rate of exchange: how much of the quote currency one of the base currency is, from a day on."""

    on: date
    base: str = Field(pattern=r"^[A-Z]{3}$")
    quote: str = Field(pattern=r"^[A-Z]{3}$")
    rate: Decimal = Field(gt=0, max_digits=15, decimal_places=9)
    source: str


class Exchange(_Part):
    """`fx.yaml`; a rate that is missing holds what needs it, it is never guessed."""

    rates: list[FxRateSettings] = []


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
    schedules: Mapping[str, ScheduleSettings] = field(default_factory=dict)
    transfer_prices: tuple[TransferPriceSettings, ...] = ()
    fx_rates: tuple[FxRateSettings, ...] = ()
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
    prices, exchange = workspace / "intercompany.yaml", workspace / "fx.yaml"
    transfer_prices = _read(prices, Intercompany).transfer_prices if prices.is_file() else []
    for price in transfer_prices:
        for code in (price.lender, price.borrower):
            if code not in entities:
                raise SettingsError(f"intercompany.yaml: there is no legal entity {code} in entities/")
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
        transfer_prices=tuple(transfer_prices),
        fx_rates=tuple(_read(exchange, Exchange).rates) if exchange.is_file() else (),
        connector_folders=(workspace / "connectors",) if (workspace / "connectors").is_dir() else (),
        schedules=_schedules(workspace),
        origin=origin,
    )


def _schedules(workspace: Path) -> dict[str, ScheduleSettings]:
    found: dict[str, ScheduleSettings] = {}
    for path in sorted((workspace / "schedules").glob("*.yaml")):
        schedule = _read(path, ScheduleSettings)
        if schedule.line in found:
            raise SettingsError(f"schedules/{path.name}: line: {schedule.line} has a schedule in another file already")
        found[schedule.line] = schedule
    return found


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
