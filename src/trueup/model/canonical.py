"""What every canonical object has in common: one class validates it, documents it and is its API schema."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from trueup.kernel.money import known_currency
from trueup.model.lifecycle import Lifecycle

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")


def _plain(value: Decimal) -> str:
    return format(value, "f")


def _exact(value: Any) -> Any:
    """Let only whole numbers, decimals and plain decimal text in: what other readers guess is refused."""
    if isinstance(value, bool | float) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        raise ValueError("write an exact decimal, as text with a point")
    return value


def check_currency(code: str) -> str:
    """Return the code when ISO 4217 knows it.

    Raises    ValueError otherwise.
    """
    if not known_currency(code):
        raise ValueError(f"{code} is no ISO 4217 code")
    return code


_EXACT = (BeforeValidator(_exact), PlainSerializer(_plain, when_used="json"))
Amount = Annotated[Decimal, Field(gt=Decimal(-(10**12)), lt=Decimal(10**12), decimal_places=10), *_EXACT]
"""Major units, exact. On the wire always text: "12400.00"."""

Quantity = Annotated[Decimal, Field(gt=-(10**9), lt=10**9, decimal_places=10), *_EXACT]
Share = Annotated[Decimal, Field(ge=0, le=10, decimal_places=10), *_EXACT]
Minutes = Annotated[int, Field(ge=0, le=10_000_000, strict=True)]
Number = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
"""A position or a count."""

Flag = Annotated[bool, Field(strict=True)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$"), AfterValidator(check_currency)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Gid = Annotated[str, Field(pattern=r"^[a-z]{3}_[0-9a-z]{26}$")]
Name = Annotated[str, Field(max_length=400)]


class Row(BaseModel):
    """A part of an object: frozen, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Canonical(Row):
    """One business object as the hub holds it.

    kind        name of the kind, as in `/v1/{kind}`
    lifecycle   which status may follow which; a status that is not in it does not exist
    references  fields that hold identifiers of other objects: field -> kind
    restricted  fields only readers with `cost:read` may see
    aliases     fields that are keys of the firm's own, known to every system: field -> name of the key
    volume      kept in a table of its own, taken in by the thousand
    """

    kind: ClassVar[str]
    lifecycle: ClassVar[Lifecycle]
    references: ClassVar[dict[str, str]] = {}
    restricted: ClassVar[frozenset[str]] = frozenset()
    aliases: ClassVar[dict[str, str]] = {}
    volume: ClassVar[bool] = False

    status: str

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the fields of the body, without the status."""
        return tuple(name for name in cls.model_fields if name != "status")


class Envelope(Row):
    """What surrounds every object's body.

    version    raised by one with every accepted change; the ETag
    tombstone  None, or how it went: deleted, merged, archived, hidden, erased
    """

    gid: Gid
    kind: str
    version: int
    status: str
    legal_entity: str | None = None
    created_at: datetime
    updated_at: datetime
    tombstone: str | None = None
    sources: list["Source"] = []
    body: dict[str, Any]


class Source(Row):
    """One system's own identifier of an object."""

    system: str
    object: str
    external_id: str
    stamp: str | None = None
