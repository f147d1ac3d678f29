"""The shape of `connector.yaml`: the facts of one vendor, no expressions, no code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueup.kernel.errors import Broken

Role = Literal["crm", "psa", "erp", "hris", "expense"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
VendorObject = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A vendor object as its own API spells it."""


class Fact(BaseModel):
    """Frozen, and nothing unknown is let in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Fact):
    """What the vendor lets us do, with the document that says so."""

    concurrency: int = Field(gt=0)
    per_second: float = Field(gt=0)
    timeout_seconds: float = Field(default=30, gt=0)
    source: str


class Read(Fact):
    """One vendor object we read.

    kind   canonical kind it becomes
    lane   `master` for data others point to, `volume` for time and expenses (larger batches)
    order  objects with a lower number are polled first, so that references are known when they are needed
    sweep_hours      how often the object is read whole beside its reader; None where a reading is never whole (a queue)
    retention_hours  how long the vendor lists what changed or was deleted; a reader away for longer reads all again
    tells_deletions  the vendor lists deleted records: one that is missing without having been listed is only hidden
    archived         a field of the record that says it was put away; such a record stays what it was
    """

    kind: Name
    lane: Literal["master", "volume"] = "master"
    order: int = 50
    sweep_hours: float | None = Field(default=168, gt=0)
    retention_hours: float | None = Field(default=None, gt=0)
    tells_deletions: bool = False
    archived: str = ""


class Write(Fact):
    """One vendor object we write.

    kind      canonical kind it is made from
    dedupe    A idempotent upsert by our key; B idempotency key with a life span; C find, then create; D none
    key_life_hours  for B: how long the vendor remembers the key
    """

    kind: Name
    dedupe: Literal["A", "B", "C", "D"]
    key_life_hours: float | None = None


class Refusal(Fact):
    """What one of the vendor's error codes means and what a person can do."""

    meaning: str
    kind: Literal["data", "permission", "period", "duplicate", "limit", "configuration"] = "data"
    advice: str


class Webhook(Fact):
    """How the vendor signs what it sends us.

    signed     the text under the signature: `{timestamp}.{body}`, `{body}{timestamp}` or `{body}`
    encoding   of the digest
    prefix     text before the digest in the header
    tolerance_seconds  how far the timestamp may be away, both ways
    """

    signature_header: str
    timestamp_header: str | None = None
    signed: Literal["{timestamp}.{body}", "{body}{timestamp}", "{body}"] = "{timestamp}.{body}"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    tolerance_seconds: int = 300
    source: str


class Manifest(Fact):
    """One vendor's facts.

    credentials  what a connection must bring to sign in

    Source    architecture.md, "One connector"
    """

    connector: Name
    title: str
    role: Role
    tier: Literal["bronze", "silver", "gold", "platinum"]
    aliases: tuple[Name, ...] = ()
    base_url: str
    auth: Mapping[str, str]
    credentials: tuple[Name, ...]
    limits: Limits
    reads: Mapping[VendorObject, Read] = {}
    writes: Mapping[VendorObject, Write] = {}
    refusals: Mapping[str, Refusal] = {}
    webhook: Webhook | None = None
    sources: tuple[str, ...] = ()


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises    Broken naming the file and each line that is wrong.
    """
    try:
        return Manifest.model_validate(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    except (ValidationError, YAMLError, OSError) as wrong:
        raise Broken(f"{path.parent.name}/{path.name}: {wrong}") from wrong
