"""Credit and rebill, one document at a time over `Decimal`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from trueup.kernel.money import round_money


@dataclass(frozen=True)
class Line:
    """A line as billed and as it should be, net; `rate` is a share, 0.19 is 19 %."""

    key: str
    category: str
    rate: Decimal
    billed: Decimal
    true: Decimal


def plan(lines: Sequence[Line], policy: str) -> list[tuple[str, str, str, Decimal]]:
    """Return the lines of the correction: (kind, line, category, net), sorted, nought left out."""
    found: list[tuple[str, str, str, Decimal]] = []
    for line in lines:
        delta = line.true - line.billed
        nets = {
            "delta_next": {"next_line": delta},
            "credit_partial": {"credit": min(delta, Decimal(0)), "rebill": max(delta, Decimal(0))},
            "credit_full_rebill": {"credit": -line.billed, "rebill": line.true},
        }[policy]
        found += [(kind, line.key, line.category, net) for kind, net in nets.items() if net]
    return sorted(found)


def tax_of(
    lines: Sequence[Line], policy: str, billed_tax: Mapping[str, Decimal], currency: str
) -> list[tuple[str, str, Decimal, Decimal | None]]:
    """Return net and tax of each kind and category: (kind, category, net, tax); the next invoice taxes a next_line."""
    rates = {line.category: line.rate for line in lines}
    nets: dict[tuple[str, str], Decimal] = {}
    for kind, _, category, net in plan(lines, policy):
        nets[(kind, category)] = nets.get((kind, category), Decimal(0)) + net
    rows: list[tuple[str, str, Decimal, Decimal | None]] = []
    for (kind, category), net in sorted(nets.items()):
        tax: Decimal | None = round_money(net * rates[category], currency)
        if kind == "next_line":
            tax = None
        elif kind == "credit":
            billed = sum(line.billed for line in lines if line.category == category)
            left = billed_tax.get(category, Decimal(0))
            tax = -left if -net == billed else -min(left, -(tax or Decimal(0)))
        rows.append((kind, category, net, tax))
    return rows


def grant_credits(
    billed: Decimal, billed_tax: Decimal, rate: Decimal, asked: Sequence[Decimal], currency: str
) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Return (net, tax, excess) of each credit: never more than is left, the last one takes the residual tax."""
    net_left, tax_left, rows = billed, billed_tax, []
    for wanted in asked:
        net = min(wanted, net_left)
        net_left -= net
        tax = tax_left if net_left == 0 else min(round_money(net * rate, currency), tax_left)
        tax_left -= tax
        rows.append((net, tax, wanted - net))
    return rows


def realisation(
    standard: Decimal, write_down: Decimal, written_off: Decimal, currency: str
) -> tuple[Decimal, Decimal, Decimal | None, Decimal | None]:
    """Return billed, collected, realisation and collection in percent with one decimal; None without a whole.

    write_down  share taken off before billing
    """
    billed = standard - round_money(standard * write_down, currency)
    collected = billed - written_off
    return billed, collected, _percent(billed, standard), _percent(collected, billed)


def _percent(part: Decimal, of: Decimal) -> Decimal | None:
    return (part * 100 / of).quantize(Decimal("0.1"), ROUND_HALF_UP) if of > 0 else None
