"""Whether a won deal can be set up and billed at all: checked before anything is written to any system."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class DealLine:
    """One line of a deal, as far as it is checked.

    key             line key: D07-L1
    package         code in the price book
    billing_method  time_and_materials, fixed_fee, retainer or pass_through
    legal_entity    code of the entity that will bill
    currency        ISO 4217
    buyer_country   ISO 3166 alpha-2 of the bill-to, None when unknown
    """

    key: str
    package: str
    billing_method: str
    legal_entity: str
    currency: str
    buyer_country: str | None


@dataclass(frozen=True, slots=True)
class Deal:
    """A won deal, as far as it is checked.

    code      deal code
    value     contract value, major units
    currency  ISO 4217 of the value
    lines     its lines
    """

    code: str
    value: Decimal
    currency: str
    lines: tuple[DealLine, ...]


@dataclass(frozen=True, slots=True)
class SellingEntity:
    """What a legal entity may sell.

    currency  ISO 4217 it invoices in
    nexus     ISO 3166 alpha-2 of the countries it is registered to sell into
    """

    currency: str
    nexus: Set[str]


@dataclass(frozen=True, slots=True)
class DealHold:
    """One reason why a deal cannot be set up.

    code      hold code (see `holds.REASONS`)
    sentence  what is wrong and on which lines, for a finance clerk
    lines     keys of these lines
    amount    contract value that waits, major units
    currency  ISO 4217
    """

    code: str
    sentence: str
    lines: tuple[str, ...]
    amount: Decimal
    currency: str


def check_deal(deal: Deal, price_book: Mapping[str, Set[str]], entities: Mapping[str, SellingEntity]) -> list[DealHold]:
    """List why the deal cannot be set up, one hold per reason; an empty list lets it pass.

    price_book  package → billing methods it may be sold with
    entities    code of the legal entity → its currency and nexus

    >>> book = {"ADV-TM": {"time_and_materials"}}
    >>> firm = {"UK01": SellingEntity("GBP", {"GB", "IE", "US"})}
    >>> swiss = DealLine("D30-L1", "ADV-TM", "time_and_materials", "UK01", "GBP", "CH")
    >>> [hold.code for hold in check_deal(Deal("D30", Decimal(5000), "GBP", (swiss,)), book, firm)]
    ['TAX_UNDETERMINED']
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for line in deal.lines:
        for code, sentence in _check_line(line, price_book, entities):
            found.setdefault(code, []).append((line.key, sentence))
    return [
        DealHold(
            code,
            " ".join(f"{key}: {sentence}" for key, sentence in where),
            tuple(key for key, _ in where),
            deal.value,
            deal.currency,
        )
        for code, where in found.items()
    ]


def _check_line(
    line: DealLine, price_book: Mapping[str, Set[str]], entities: Mapping[str, SellingEntity]
) -> Iterator[tuple[str, str]]:
    methods = price_book.get(line.package)
    if methods is None:
        yield "PACKAGE_UNKNOWN", f"package {line.package} is not in the price book."
    elif line.billing_method not in methods:
        yield "METHOD_NOT_ALLOWED", f"package {line.package} is not sold as {line.billing_method}."
    entity = entities.get(line.legal_entity)
    if entity is None:
        yield "ENTITY_UNMAPPED", f"legal entity {line.legal_entity} is not known."
        return
    if line.buyer_country is None:
        yield "TAX_UNDETERMINED", "the customer who gets the invoice has no country."
    elif line.buyer_country not in entity.nexus:
        yield "TAX_UNDETERMINED", f"{line.legal_entity} is not registered to sell into {line.buyer_country}."
    if line.currency != entity.currency:
        yield "CURRENCY_MISMATCH", f"{line.legal_entity} invoices in {entity.currency}, the line is in {line.currency}."
