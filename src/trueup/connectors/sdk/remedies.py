"""What a failure means and the ways out of it: a catalogue of the house, of each connector, and of the workspace.

An entry says which failures it is about and offers up to three ways out, in the order in which they should be tried. A way
is something a person does, and the act of the hub that follows; none of them acts by itself.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from operator import itemgetter
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trueup.connectors.sdk.manifest import Fact, Manifest, Way
from trueup.kernel.errors import Broken

State = Literal["quarantined", "waiting", "rejected", "parked", "unknown"]
STATES: Mapping[str, frozenset[str]] = {
    "message": frozenset({"quarantined", "waiting"}),
    "delivery": frozenset({"rejected", "parked", "unknown"}),
}
ACTS: Mapping[str, frozenset[str]] = {
    "message": frozenset({"replay", "edit", "itself"}),
    "delivery": frozenset({"retry", "itself"}),
}
"""Source of a failure -> the acts that can follow a way out of it."""


class Remedy(Fact):
    """One entry: what is given must hold of a failure; the entry that names most wins.

    source  what failed: a message that came in, or a delivery that went out
    state   quarantined or waiting (message); rejected, parked or unknown (delivery)
    code    of the failure: ours, or the vendor's own
    """

    id: str = Field(pattern=r"^[a-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$")
    source: Literal["message", "delivery"]
    state: State | None = None
    system: str | None = None
    object: str | None = None
    code: str | None = None
    field: str | None = None
    cause: str = Field(min_length=10)
    ways: tuple[Way, ...] = Field(min_length=1, max_length=3)

    @model_validator(mode="after")
    def _can_occur(self) -> "Remedy":
        if self.state is not None and self.state not in STATES[self.source]:
            raise ValueError(f"{self.id}: a {self.source} is never {self.state}")
        if self.state is None and self.code is None:
            raise ValueError(f"{self.id}: name a state or a code")
        for way in self.ways:
            if way.then not in ACTS[self.source]:
                raise ValueError(f"{self.id}: nobody can {way.then} a {self.source}")
        return self

    @property
    def about(self) -> dict[str, str]:
        """Return what must hold of a failure."""
        named = {
            "class": self.state,
            "system": self.system,
            "object": self.object,
            "code": self.code,
            "field": self.field,
        }
        return {"source": self.source} | {name: value for name, value in named.items() if value is not None}

    @property
    def advice(self) -> str:
        """Return the ways out as one text.

        >>> Remedy(id="x", source="message", code="x", cause="it is an example", ways=(
        ...     Way(do="Mend it", then="replay"), Way(do="Wait for it", then="itself"))).advice
        'Mend it. Or: wait for it.'
        """
        first, *others = (way.do for way in self.ways)
        return ". Or: ".join([first, *(f"{one[:1].lower()}{one[1:]}" for one in others)]) + "."


class Catalogue:
    """All entries that hold in one house."""

    def __init__(self, entries: Iterable[Remedy]) -> None:
        self.entries = tuple(entries)
        self._about = [(one.about, one) for one in self.entries]
        for number, (about, one) in enumerate(self._about):
            for known, other in self._about[:number]:
                if _ambiguous(about, known):
                    raise Broken(
                        f"remedies {other.id} and {one.id} are about the same failures: let one of them name more"
                    )

    def of(self, failure: Mapping[str, Any]) -> Remedy | None:
        """Return the entry that says most about a failure (source, class, system, object, code, field), or None."""
        fitting = [
            (len(about), one)
            for about, one in self._about
            if all(failure[name] == value for name, value in about.items())
        ]
        return max(fitting, key=itemgetter(0), default=(0, None))[1]


def _ambiguous(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Say whether some failure fits both of two equally precise entries."""
    return len(one) == len(other) and all(other.get(name, value) == value for name, value in one.items())


def read(text: str, where: str) -> tuple[Remedy, ...]:
    """Read a `remedies.yaml`.

    where   how the file is called in an error
    Raises  Broken naming the entry.
    """
    try:
        said = YAML(typ="safe", pure=True).load(text) or []
        entries = TypeAdapter(tuple[Remedy, ...]).validate_python(said)
    except (YAMLError, ValidationError) as wrong:
        raise Broken(f"{where}: {wrong}") from wrong
    names = [one.id for one in entries]
    for name in names:
        if names.count(name) > 1:
            raise Broken(f"{where}: the id {name} stands twice")
    return entries


@cache
def general() -> tuple[Remedy, ...]:
    """Return the entries for what the hub itself says."""
    return read(files("trueup.connectors.sdk").joinpath("remedies.yaml").read_text("utf-8"), "sdk/remedies.yaml")


def of_connector(system: str, manifest: Manifest) -> tuple[Remedy, ...]:
    """Return an entry for each of the vendor's refusals, about deliveries to a system."""
    entries = []
    for code, refusal in manifest.refusals.items():
        plain = Way(do=refusal.advice, then="retry", who=f"an administrator of {manifest.title}")
        entries.append(
            Remedy(
                id=f"{manifest.connector}/{code}",
                source="delivery",
                state="rejected",
                system=system,
                code=code,
                cause=refusal.meaning,
                ways=refusal.ways or (plain,),
            )
        )
    return tuple(entries)


def catalogue(systems: Mapping[str, Manifest], own: tuple[Remedy, ...] = ()) -> Catalogue:
    """Return the catalogue of a house.

    systems  name of each connected system -> its manifest
    own      the workspace's entries; one with the id of another takes its place
    Raises   Broken when two entries are about the same failures.
    """
    entries = {one.id: one for one in general()}
    for name, manifest in systems.items():
        entries |= {f"{name}:{one.id}": one for one in of_connector(name, manifest)}
    for one in own:
        if one.system is not None and one.system not in systems:
            raise Broken(
                f"remedies.yaml: {one.id}: no system {one.system} is connected; there are {', '.join(sorted(systems))}"
            )
        replaced = [key for key, known in entries.items() if known.id == one.id]
        for key in replaced:
            del entries[key]
        entries[one.id] = one
    return Catalogue(entries.values())
