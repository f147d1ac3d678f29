"""Systems that tell each other through the hub come to rest, at the owner's value, whatever their mappings lose.

A pure model of the world around the real `decide`: each system keeps values the way it can (cut, folded, rounded),
tells the hub of every change, and is told by the hub of what differs from what was last written to it.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.entrypoints.bootstrap import default_ownership
from trueup.governance.decide import decide
from trueup.governance.ownership import ROLES, Entry, Ownership, load

FIELDS = ("name", "legal_name", "region", "industry", "tax_id", "billing_email", "country", "currency")
LOSSES = {
    "nothing": lambda value: value,
    "cut": lambda value: value[:4],
    "folded": lambda value: value.casefold(),
    "shouted": lambda value: value.upper(),
    "rounded": lambda value: (
        str(Decimal(value).quantize(Decimal("0.1"), ROUND_HALF_UP)) if value.isdecimal() else value
    ),
    "spaced": lambda value: value.strip(),
}
VALUES = st.sampled_from(["Alpha", "alpha", "ALPHA and more", " beta", "12345", "7", "Ünï", "gamma delta"])
SYSTEMS = ("crm", "psa", "erp", "hris", "expense")


@dataclass
class There:
    """One system: what it keeps, how it spoils each field, and what the hub last wrote to it."""

    role: str
    losses: dict[str, str]
    kept: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def save(self, values):
        """Keep values as well as this system can; gives what it tells everybody of it, also when that is no change."""
        spoiled = {name: LOSSES[self.losses[name]](value) for name, value in values.items()}
        self.kept |= spoiled
        return spoiled


def owned_by(owners):
    """Return the shipped rules with the owners of a customer's fields replaced."""
    rules = load(default_ownership())
    entry = rules.objects["customer"]
    fields = {**entry.fields, **owners}
    return Ownership(rules.version, {**rules.objects, "customer": Entry(**{**entry.model_dump(), "fields": fields})})


class Circle(AssertionError):
    """More writes than the budget."""


def owners_word(rules, role, said, held):
    """Return what the hub accepts: the real decision."""
    return decide(rules, "customer", role, said, held).accepted


def last_word(rules, role, said, held):
    """Return what a hub without owners accepts."""
    return said


def settle(rules, systems, first, budget, accept=owners_word, remember=True):
    """Let one system's change run through all of them; gives what the hub holds and how many writes it made."""
    held = {"status": "active", **dict.fromkeys(FIELDS)}
    queue = deque([first])
    writes = 0
    while queue:
        there, said = queue.popleft()
        held |= accept(rules, there.role, said, held)
        for other in systems:
            news = {
                name: value
                for name, value in held.items()
                if name in FIELDS and value is not None and rules.owner("customer", name, "active") != other.role
                and (other.written if remember else other.kept).get(name) != value
            }  # fmt: skip
            if news:
                writes += 1
                if writes > budget:
                    raise Circle(f"{there.role} -> {other.role}: {news}")
                other.written |= news
                queue.append((other, other.save(news)))  # every system tells of every save, also of ours: the echo
    return held, writes


worlds = st.integers(2, 5).flatmap(
    lambda count: st.tuples(
        st.permutations(SYSTEMS).map(lambda roles: roles[:count]),
        st.lists(
            st.fixed_dictionaries({name: st.sampled_from(sorted(LOSSES)) for name in FIELDS}), min_size=5, max_size=5
        ),
        st.fixed_dictionaries({name: st.sampled_from([*SYSTEMS, "nobody"]) for name in FIELDS}),
        st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=8),
        st.integers(0, 4),
    )
)


@settings(max_examples=150, deadline=None)
@given(worlds)
def test_any_graph_of_systems_comes_to_rest_at_the_owners_value(world):
    roles, losses, owners, said, speaker = world
    assert set(owners.values()) <= ROLES | {"nobody"}
    rules = owned_by(owners)
    systems = [There(role, loss) for role, loss in zip(roles, losses, strict=False)]
    first = systems[speaker % len(systems)]
    told = first.save(said)
    held, writes = settle(rules, systems, (first, told), budget=2 * len(systems))
    for name, value in told.items():
        owner = rules.owner("customer", name, "active")
        assert held[name] == (value if owner == first.role else None)
    assert writes <= 2 * (len(systems) - 1)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.sampled_from(sorted(LOSSES)))
def test_an_echo_of_what_we_wrote_costs_no_write(value, loss):
    rules = owned_by(dict.fromkeys(FIELDS, "crm"))
    crm, psa = There("crm", dict.fromkeys(FIELDS, "nothing")), There("psa", dict.fromkeys(FIELDS, loss))
    crm.save({"name": value})
    held, writes = settle(rules, [crm, psa], (crm, {"name": value}), budget=10)
    assert (held["name"], writes) == (value, 1)


def test_without_owners_the_same_systems_would_run_in_a_circle():
    rules = owned_by(dict.fromkeys(FIELDS, "nobody"))
    one, two = There("crm", dict.fromkeys(FIELDS, "folded")), There("psa", dict.fromkeys(FIELDS, "shouted"))
    with pytest.raises(Circle, match="psa -> crm"):
        settle(rules, [one, two], (one, one.save({"name": "Alpha"})), budget=19, accept=last_word, remember=False)
