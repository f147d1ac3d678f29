"""Everything a worker needs, built once by bootstrap and handed down: systems, mappings, ownership, the firm's rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.registry import Connector
from trueup.governance.ownership import Ownership
from trueup.kernel.errors import Broken
from trueup.mapping.file import MappingFile
from trueup.store.changes import Event
from trueup.store.database import Database, Tx

Reaction = Callable[[Tx, "House", Sequence[Event]], None]
"""Called inside the transaction that told the events: starts processes, writes commands."""


@dataclass(frozen=True, slots=True)
class LegalEntity:
    """A company of the firm. `sells_to` lists the countries it is registered to sell into."""

    code: str
    name: str
    country: str
    currency: str
    sells_to: frozenset[str]


@dataclass(frozen=True, slots=True)
class Package:
    """One entry of the price book; `phases` are the first tasks of a project that sells it."""

    code: str
    name: str
    practice: str | None
    department: str | None
    billing_methods: frozenset[str]
    revenue_method: str
    phases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Firm:
    """The firm's own rules, from its workspace."""

    name: str
    entities: Mapping[str, LegalEntity]
    packages: Mapping[str, Package]
    owners: Mapping[str, str]

    def phases_of(self, package: str) -> tuple[str, ...]:
        """Return the phases a project of a package starts with."""
        return self.packages[package].phases or ("Delivery",)


@dataclass(frozen=True)
class System:
    """One connected system."""

    name: str
    role: str
    connector: Connector
    client: VendorClient


@dataclass
class House:
    """The built house.

    edition  number of the rules it works by, once they are kept: every decision and act names it
    """

    database: Database
    systems: Mapping[str, System]
    inward: Mapping[tuple[str, str], MappingFile]
    outward: Mapping[tuple[str, str, str], MappingFile]
    ownership: Ownership
    firm: Firm
    reactions: list[Reaction] = field(default_factory=list)
    edition: int | None = None

    def with_role(self, role: str) -> list[System]:
        """Return the systems that play a role."""
        return [system for system in self.systems.values() if system.role == role]

    def targets(self, kind: str, role: str) -> list[tuple[System, str, str]]:
        """Return where a kind of object goes in the systems of a role: (system, vendor object, dedupe class)."""
        found: list[tuple[System, str, str]] = []
        for system in self.with_role(role):
            for mapped_kind, name, vendor_object in self.outward:
                if mapped_kind == kind and name == system.name:
                    write = system.connector.manifest.writes.get(vendor_object)
                    if write is None:
                        raise Broken(f"{name} has a mapping for {vendor_object} but its manifest does not write it")
                    found.append((system, vendor_object, write.dedupe))
        return found

    def react(self, tx: Tx, events: Sequence[Event]) -> None:
        """Let everybody who listens act on events, in this transaction."""
        if events:
            for reaction in self.reactions:
                reaction(tx, self, events)
