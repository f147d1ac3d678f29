"""What a firm says about tax: registrations, states, what its services are, what registers answered, what is withheld."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from trueup.billing.rounding import MILLION


@dataclass(frozen=True, slots=True)
class State:
    """One state of the United States a legal entity has something to do with.

    presence  whether it has an office or people there
    rate_ppm  combined sales tax rate it charges there; None while it is not registered
    """

    presence: bool = False
    rate_ppm: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """What a contract line sells, as tax sees it.

    category  general, or one of `tax_tables.PLACE_BOUND`
    used_in   ISO 3166 alpha-2 of the country where a place-bound service happens
    code      one of `tax_tables.SERVICES`
    """

    category: str | None = None
    used_in: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the register answered about a VAT id, and on which day it was asked."""

    valid: bool
    checked_on: date


@dataclass(frozen=True, slots=True)
class Withholding:
    """What customers of a legal entity pay to the tax office instead of to it, from a day on.

    customer  customer number; None for every customer
    rate      0.1 is ten per cent
    base      net or gross of the invoice
    """

    entity: str
    customer: str | None
    rate: Decimal
    base: Literal["net", "gross"]
    valid_from: date


@dataclass(frozen=True)
class TaxRules:
    """Everything a firm says about tax, `tax.yaml`; a firm that says nothing is judged by the general rule.

    check_vat_ids  whether form and check digits of customers' VAT ids are looked at
    answers        VAT id without spaces → newest answer of the register
    registered_in  legal entity → countries it is registered for VAT in, beside its own
    states         legal entity → state → `State`
    services       (line, contract or package; its key) → `Service`
    withholding    see `Withholding`
    """

    check_vat_ids: bool = True
    answers: Mapping[str, Answer] = field(default_factory=dict)
    registered_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, State]] = field(default_factory=dict)
    services: Mapping[tuple[str, str], Service] = field(default_factory=dict)
    withholding: tuple[Withholding, ...] = ()

    def service(self, line: str, contract: str, package: str) -> Service:
        """Return what a contract line sells: as its own line says, else its contract, else its package.

        >>> TaxRules(services={("package", "SAAS"): Service(code="saas")}).service("D1-L1", "D1", "SAAS").code
        'saas'
        """
        for key in (("line", line), ("contract", contract), ("package", package)):
            if key in self.services:
                return self.services[key]
        return Service()

    def supplied_by(self, entity: str) -> dict[str, Any]:
        """Return the columns of `tax.OPTIONAL` that a legal entity fills."""
        return {"registered_in": list(self.registered_in.get(entity, ()))}

    def bought_by(
        self, entity: str, country: str | None, region: str | None, vat_id: str | None, nexus: Mapping[str, bool]
    ) -> dict[str, Any]:
        """Return the columns of `tax.OPTIONAL` that a customer fills.

        country  ISO 3166 alpha-2
        region   state, as the customer's record writes it
        vat_id   as the customer's record writes it
        nexus    state → whether the entity is liable there
        """
        state = region if country == "US" else None
        answer = self.answers.get((vat_id or "").replace(" ", "").upper())
        known = self.states.get(entity, {}).get(state or "")
        return {
            "buyer_region": state,
            "vat_id": vat_id if self.check_vat_ids else None,
            "vat_id_valid": answer.valid if answer else None,
            "vat_id_checked_on": answer.checked_on if answer else None,
            "nexus": nexus.get(state, False) if state else None,
            "state_rate_ppm": known.rate_ppm if known else None,
        }

    def withheld(self, customers: Mapping[str, str]) -> pl.DataFrame:
        """Return the terms `withholding.with_withholding` takes.

        customers  customer number → customer; terms of a customer nobody knows are left out
        """
        rows = [
            (one.entity, customers.get(one.customer) if one.customer else None, int(one.rate * MILLION), one.base,
             one.valid_from)
            for one in self.withholding
            if one.customer is None or one.customer in customers
        ]  # fmt: skip
        schema = {
            "legal_entity": pl.String, "bill_to": pl.String, "rate_ppm": pl.Int64, "base": pl.String,
            "valid_from": pl.Date,
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row")
