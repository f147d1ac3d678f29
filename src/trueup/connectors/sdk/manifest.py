"""The shape of `connector.yaml`: the facts of one vendor, no expressions, no code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueup.kernel.errors import Broken

Role = Literal["crm", "psa", "erp", "hris", "expense"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
VendorObject = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A vendor object as its own API spells it."""
LATE_COMMIT_SECONDS = 360.0
"""How late a write can arrive where its manifest does not say: longer than any call is served."""


class Fact(BaseModel):
    """Frozen, and nothing unknown is let in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Fact):
    """What the vendor lets us do, with the document that says so.

    overload_looks_like  error codes of refused logins with which the vendor also answers too many calls at a time
    """

    concurrency: int = Field(gt=0)
    per_second: float = Field(gt=0)
    timeout_seconds: float = Field(default=30, gt=0)
    overload_looks_like: tuple[str, ...] = ()
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
    overlap_seconds  how long after its own stamp a record may become visible; we look back that far again and again
    """

    kind: Name
    lane: Literal["master", "volume"] = "master"
    order: int = 50
    sweep_hours: float | None = Field(default=168, gt=0)
    retention_hours: float | None = Field(default=None, gt=0)
    tells_deletions: bool = False
    archived: str = ""
    overlap_seconds: float = Field(default=900.0, ge=0)


class Chunks(Fact):
    """How a document with more lines than one call may carry is written: first some, then the rest is added to it.

    max_lines  lines a call may carry
    lines      where the list of lines stands in the body: `item.items`
    key        the field of a line that carries our key: what is there already is not added again
    amount     the field of a line whose sum must be ours to the cent
    source     the document that says so, or that it is our own restraint
    """

    max_lines: int = Field(gt=0)
    lines: str
    key: str
    amount: str
    source: str


class WriteBudget(Fact):
    """How often in a row a record may come back changed by our own write before we stop writing it.

    turns  writes in a row of which each came back changed and led to the next, nobody having said anything new
    hours  in which they are counted
    """

    turns: int = Field(default=6, gt=0)
    hours: float = Field(default=24.0, gt=0)


class Write(Fact):
    """One vendor object we write.

    kind      canonical kind it is made from
    dedupe    A idempotent upsert by our key; B idempotency key with a life span; C find, then create; D none
    key_life_hours  for B: how long the vendor remembers the key
    late_commit_seconds  how long after the last word of a call its write can still arrive; B and C have to say
    index_lag_seconds    how long what was written may not be found by a search; B and C have to say
    mode      async lets the vendor take the write as a job whose end is asked for
    async_from_lines  for async: documents with fewer lines are written while we wait
    job_minutes       for async: a job that is not done by then is looked for instead
    poll_seconds      for async: pauses between questions; the last one repeats
    read_back_minutes  an object written more than once is read again after this time, to see that the newest value
        stands; None where the vendor does not show it
    chunks    for A: documents over the vendor's limit are written in parts, as one document; absent has no limit
    write_budget  when a record whose writes come back changed is no longer written
    """

    kind: Name
    dedupe: Literal["A", "B", "C", "D"]
    key_life_hours: float | None = Field(default=None, gt=0)
    late_commit_seconds: float | None = Field(default=None, ge=0)
    index_lag_seconds: float | None = Field(default=None, ge=0)
    mode: Literal["sync", "async"] = "sync"
    async_from_lines: int = Field(default=0, ge=0)
    job_minutes: float = Field(default=15, gt=0)
    poll_seconds: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(1, 2, 5, 15, 30), min_length=1)
    read_back_minutes: float | None = Field(default=15, gt=0)

    chunks: Chunks | None = None
    write_budget: WriteBudget = WriteBudget()

    @property
    def cool_down(self) -> float:
        """Return the seconds of silence after which a look that finds nothing means that nothing will come."""
        late = LATE_COMMIT_SECONDS if self.late_commit_seconds is None else self.late_commit_seconds
        return late + (self.index_lag_seconds or 0.0)

    @model_validator(mode="after")
    def _parts_need_a_key(self) -> Self:
        if self.chunks is not None and self.dedupe != "A":
            raise ValueError("only a document that is found by our key (class A) can be written in chunks")
        return self


class Way(Fact):
    """One way out of a failure.

    do    what a person does first, as a sentence without its full stop
    then  the act of the hub that follows: replay (judge the message again), edit (correct the message), retry (send
          the write again), or itself (it goes on, or a newer word takes its place, without anybody pressing)
    who   who does it, where that is not an operator of the hub
    """

    do: str = Field(min_length=5)
    then: Literal["replay", "edit", "retry", "itself"]
    who: str = "an operator"


class Refusal(Fact):
    """What one of the vendor's error codes means and what a person can do.

    ways  numbered ways out, where there is more to say than `advice`
    """

    meaning: str = Field(min_length=10)
    kind: Literal["data", "permission", "period", "duplicate", "limit", "configuration"] = "data"
    advice: str
    ways: tuple[Way, ...] = Field(default=(), max_length=3)


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
