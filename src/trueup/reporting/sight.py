"""What a reader may see: pay and cost only with `cost:read`, amounts only with `money:read`, everywhere alike."""

from collections.abc import Mapping
from typing import Any

from trueup.kernel.ids import kind_of
from trueup.model.kinds import KINDS, MONEY_FIELDS

HIDDEN = "hidden"
"""Stands where a value was taken out."""

WITHOUT_MONEY = frozenset({"customer", "project", "task", "resource", "assignment", "time_entry"})
"""Kinds whose raw records a reader without `money:read` may see."""


def hidden_fields(kind: str, body: Mapping[str, Any], *, money: bool = True) -> frozenset[str]:
    """Return the fields of one object that need `cost:read`: what people cost, and the journals made of it.

    money  whether the reader may see amounts; without it every field that holds money is among them
    """
    secret = KINDS[kind].restricted if kind in KINDS else frozenset()
    if kind == "journal_reference" and body.get("journal_type") == "cost_allocation":
        secret = frozenset({"lines", "total_debit", "total_credit"})
    return secret if money else secret | MONEY_FIELDS


def masked(kind: str, body: Mapping[str, Any], cost: bool, *, money: bool = True) -> dict[str, Any]:
    """Return a body with what the reader may not see taken out.

    cost, money  whether the reader may see what people cost, and amounts
    """
    hide = taken_out(kind, body, cost, money)
    return {name: HIDDEN if name in hide and value is not None else value for name, value in body.items()}


def taken_out(kind: str, body: Mapping[str, Any], cost: bool, money: bool) -> frozenset[str]:
    """Return the fields of one object a reader may not see."""
    if cost and money:
        return frozenset()
    return MONEY_FIELDS if cost else hidden_fields(kind, body, money=money)


def raw_is_open(gid: str | None, kind: str | None, cost: bool, *, money: bool = True) -> bool:
    """Say whether the raw bytes behind an object may be shown: a record about pay or money is hidden as a whole."""
    what = kind or (kind_of(gid) if gid else None)
    if not money and what not in WITHOUT_MONEY:
        return False
    return cost or what is None or what not in KINDS or not KINDS[what].restricted
