"""What passes between the house and a connector: records, pages, receipts, notices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One vendor record exactly as it came.

    object       the vendor object's name in the manifest
    external_id  the vendor's id
    stamp        the vendor's version or modification stamp; sorts like time within one record
    raw          the record's own bytes, cut out of the answer untouched
    deleted      the vendor says the record is gone
    """

    object: str
    external_id: str
    stamp: str
    raw: bytes
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of changes.

    cursor  where to go on, also after a restart; opaque to everybody but the connector
    more    another page is waiting now
    """

    records: tuple[Record, ...]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """A write the vendor has confirmed: its id, and its version stamp when it gave one.

    job  the vendor has only accepted it, under this name, and works on it; there is no id yet
    """

    external_id: str
    stamp: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A vendor's word that something changed: which record, and mostly not what.

    record  the whole record, where the vendor's signed call carries it: then nothing is fetched
    """

    object: str
    external_id: str
    change: str = "update"
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """Where one system is and how we sign in there. Values come from the workspace, secrets already resolved.

    system       the name of this system in the workspace
    base_url     no trailing slash
    credentials  what the manifest's auth scheme asks for
    webhook_secret  shared secret of the vendor's calls to us
    options      vendor settings of the deployment, such as custom field names
    """

    system: str
    base_url: str
    credentials: Mapping[str, str] = field(default_factory=dict)
    token_url: str = ""
    webhook_secret: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show where, never how: no secret in a log or a traceback."""
        return f"Connection({self.system!r}, {self.base_url!r})"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, body untouched."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    def json(self) -> Any:
        """Read the body as JSON; numbers with a point stay exact."""
        return _reader.decode(self.raw) if self.raw else None


_reader = msgspec.json.Decoder(float_hook=Decimal)
