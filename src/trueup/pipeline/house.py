"""Everything a worker needs, built once by bootstrap and handed down: systems, mappings, ownership, the firm's rules."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from trueup.billing import parts
from trueup.billing.brakes import Bounds
from trueup.billing.journals import LatePolicy
from trueup.billing.obligations import Declarations
from trueup.billing.schedules import Schedule
from trueup.billing.tax_rules import TaxRules
from trueup.billing.terms import Terms
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.courier import Subscriber
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.remedies import Catalogue, Remedy, catalogue
from trueup.documents.issue import Letterhead
from trueup.governance.ownership import Ownership
from trueup.kernel.errors import Broken
from trueup.mapping.file import MappingFile
from trueup.pipeline.windows import Posting
from trueup.store.changes import Event
from trueup.store.database import Database, Tx
from trueup.store.numbers import Numbering

Duplicates = Literal["across_systems", "everywhere", "ignore"]
Reaction = Callable[[Tx, "House", Sequence[Event]], None]
"""Called inside the transaction that told the events: starts processes, writes commands."""


@dataclass(frozen=True, slots=True)
class LegalEntity:
    """A company of the firm.

    sells_to      countries it is registered to sell into
    close_blocks  items of the month-end checklist whose findings a person must accept before the month is closed
    numbering     how it numbers its invoices and credits; None leaves that to the ERP
    bounds        outside of which an invoice is held
    adjustment_limit  value from which a second person agrees to an adjustment, in the currency of the facts
    letterhead    what its documents say of it
    """

    code: str
    name: str
    country: str
    currency: str
    sells_to: frozenset[str]
    close_blocks: frozenset[str] = frozenset()
    numbering: Numbering | None = None
    bounds: Bounds = field(default_factory=Bounds)
    adjustment_limit: Decimal = Decimal(0)
    letterhead: Letterhead | None = None


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


@dataclass(frozen=True, slots=True)
class TransferPrice:
    """What one legal entity charges another for lent people, from a day on.

    rule   cost_plus, share or fixed
    value  0.1 for 10 % (cost_plus, share), or an amount per hour in the lender's currency (fixed)
    """

    lender: str
    borrower: str
    rule: str
    value: Decimal
    valid_from: date


@dataclass(frozen=True, slots=True)
class FxRate:
    """How much of the quote currency one of the base currency is, from a day on, and who says so.

    purpose  day, or average for the published average of a month
    """

    on: date
    base: str
    quote: str
    rate: Decimal
    source: str
    purpose: str = "day"


@dataclass(frozen=True, slots=True)
class ListLine:
    """A line of the list card: a price per hour for a role, a person, or anybody, major units."""

    key: str
    role: str | None
    resource: str | None
    currency: str
    rate: Decimal
    valid_from: date
    valid_to: date | None


@dataclass(frozen=True, slots=True)
class Prepayment:
    """A payment on account of a contract, before anything was billed for it.

    gross  paid, tax included
    tax    VAT within it, due when the money came; 0 where it carried none
    """

    contract: str
    entity: str
    key: str
    received_on: date
    currency: str
    gross: Decimal
    tax: Decimal = Decimal(0)


@dataclass(frozen=True)
class Firm:
    """The firm's own rules, from its workspace.

    schedules   by contract line
    terms       see `terms_for`
    list_rates  lines of the list card
    obligations   performance obligations by contract code; a contract without any is measured by its lines
    late_revenue  what becomes of revenue for services of a closed month
    invoice_template  the firm's own Typst text for invoices; None takes ours
    entries_per_part  time entries a worker holds at a time; a larger billing run is carried out in parts
    tax         what it says about tax; None for the general rule alone
    prepayments payments on account
    duplicates  which entries that say the same wait for a decision: from two systems, any two, or none
    labour_blocking  labour checks that hold the day's work
    """

    name: str
    entities: Mapping[str, LegalEntity]
    packages: Mapping[str, Package]
    owners: Mapping[str, str]
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    transfer_prices: Sequence[TransferPrice] = ()
    fx_rates: Sequence[FxRate] = ()
    terms: Mapping[tuple[str, str], Terms] = field(default_factory=dict)
    list_rates: Sequence[ListLine] = ()
    obligations: Declarations = field(default_factory=dict)
    late_revenue: LatePolicy = "next_open_period"
    invoice_template: str | None = None
    entries_per_part: int = parts.SIZE
    tax: TaxRules | None = None
    prepayments: Sequence[Prepayment] = ()
    duplicates: Duplicates = "across_systems"
    labour_blocking: frozenset[str] = frozenset()

    @property
    def letterheads(self) -> Mapping[str, Letterhead]:
        """Return the letterheads there are, by legal entity."""
        return {code: one.letterhead for code, one in self.entities.items() if one.letterhead is not None}

    def phases_of(self, package: str) -> tuple[str, ...]:
        """Return the phases a project of a package starts with."""
        return self.packages[package].phases or ("Delivery",)


@dataclass(frozen=True)
class System:
    """One connected system.

    account  what shares its budget at the vendor; empty is its own name
    posting  when documents may be posted into it
    """

    name: str
    role: str
    connector: Connector
    client: VendorClient
    account: str = ""
    posting: Posting = field(default_factory=Posting)


@dataclass
class House:
    """The built house.

    edition  number of the rules it works by, once they are kept: every decision and act names it
    subscribers  who is told of business events, by name
    own_remedies  entries of the workspace, beside those of the hub and of the connectors
    """

    database: Database
    systems: Mapping[str, System]
    inward: Mapping[tuple[str, str], MappingFile]
    outward: Mapping[tuple[str, str, str], MappingFile]
    ownership: Ownership
    firm: Firm
    reactions: list[Reaction] = field(default_factory=list)
    edition: int | None = None
    subscribers: Mapping[str, Subscriber] = field(default_factory=dict)
    own_remedies: tuple[Remedy, ...] = ()

    def remedies(self) -> Catalogue:
        """Return what failures mean here, and the ways out."""
        return catalogue({name: one.connector.manifest for name, one in self.systems.items()}, self.own_remedies)

    def with_role(self, role: str) -> list[System]:
        """Return the systems that play a role."""
        return [system for system in self.systems.values() if system.role == role]

    def accounts(self) -> dict[str, list[str]]:
        """Return the vendor accounts with the systems that share each."""
        found: dict[str, list[str]] = {}
        for name, system in sorted(self.systems.items()):
            found.setdefault(system.account or name, []).append(name)
        return found

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
