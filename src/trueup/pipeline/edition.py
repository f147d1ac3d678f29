"""The rules the house works by, kept by their hash: what was decided can be decided again by the same ones."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trueup import __version__
from trueup.billing.tax_rules import Service
from trueup.billing.terms import Terms
from trueup.kernel.errors import Broken
from trueup.kernel.strict_json import canonical, read
from trueup.pipeline.house import Firm, House
from trueup.store import acts, cursors
from trueup.store.database import Tx

_FIRM = TypeAdapter(Firm)
_TERMS = TypeAdapter(list[tuple[tuple[str, str], Terms]])
_SERVICES = TypeAdapter(list[tuple[tuple[str, str], Service]])


def keep(tx: Tx, house: House, ownership: str) -> None:
    """Keep every mapping, the ownership file and the firm's rules, and let the house name them from now on.

    ownership  text of the ownership file the house was built with
    """
    for mapping in (*house.inward.values(), *house.outward.values()):
        cursors.keep_text(tx, mapping.digest, mapping.name, mapping.version, mapping.source)
    rules = firm_text(house.firm)
    cursors.keep_text(tx, digest_of(ownership), "ownership", house.ownership.version, ownership)
    cursors.keep_text(tx, digest_of(rules), "firm", 1, rules)
    house.edition = acts.edition(tx, digest_of(ownership), digest_of(rules), __version__)


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text, as hex: the name it is kept under."""
    return hashlib.sha256(text.encode()).hexdigest()


def firm_text(firm: Firm) -> str:
    """Write the firm's rules as text; the same rules always give the same text."""
    # Their keys are pairs, and a key of JSON is one text.
    sold = {} if firm.tax is None else firm.tax.services
    bare = replace(firm, terms={}, tax=None if firm.tax is None else replace(firm.tax, services={}))
    return canonical({**_plain(bare), "terms": _pairs(firm.terms), "services": _pairs(sold)}).decode()


def _pairs(rules: Mapping[tuple[str, str], Any]) -> list[Any]:
    return [[list(place), _plain(rules[place])] for place in sorted(rules)]


def read_firm(text: str) -> Firm:
    """Read what `firm_text` wrote.

    Raises    Broken when this version of the house knows other rules.
    """
    try:
        rules = read(text.encode())
        terms = _TERMS.validate_json(canonical(rules.pop("terms")))
        services = _SERVICES.validate_json(canonical(rules.pop("services")))
        firm = replace(_FIRM.validate_json(canonical(rules)), terms=dict(terms))
        return firm if firm.tax is None else replace(firm, tax=replace(firm.tax, services=dict(services)))
    except (ValidationError, ValueError, KeyError, AttributeError) as wrong:
        raise Broken(f"the firm's rules cannot be read by this version: {wrong}") from wrong


def _plain(value: Any) -> Any:
    """Turn rules into plain values; sets are sorted, because their own order changes from run to run."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=canonical)
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
