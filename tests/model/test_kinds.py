"""One class validates an object, documents it and is its schema."""

import json
from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from canonical_bodies import BODIES
from trueup.kernel.ids import PREFIXES
from trueup.model.canonical import Canonical, check_currency
from trueup.model.kinds import KINDS, schemas

FIELDS = {(kind, name) for kind, cls in KINDS.items() for name in cls.model_fields}


def test_there_is_an_example_of_every_kind():
    assert set(BODIES) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_body_comes_back_as_it_was_stored(kind):
    whole = KINDS[kind].model_validate(BODIES[kind])
    assert whole.model_dump(mode="json") == BODIES[kind]
    assert KINDS[kind].model_validate(json.loads(whole.model_dump_json())) == whole


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_unknown_field_is_refused(kind):
    with pytest.raises(ValidationError, match="Extra inputs"):
        KINDS[kind].model_validate(BODIES[kind] | {"pay_rate": "1.00"})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_object_cannot_be_changed_in_place(kind):
    whole = KINDS[kind].model_validate(BODIES[kind])
    with pytest.raises(ValidationError, match="frozen"):
        whole.status = "other"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_required_field_may_not_be_absent(kind):
    needed = [name for name, field in KINDS[kind].model_fields.items() if field.is_required()]
    assert needed
    for name in needed:
        rest = {key: value for key, value in BODIES[kind].items() if key != name}
        with pytest.raises(ValidationError, match=name):
            KINDS[kind].model_validate(rest)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_a_kind_says_of_its_fields_is_about_fields_it_has(kind):
    cls = KINDS[kind]
    assert set(cls.references) <= set(cls.model_fields)
    assert set(cls.references.values()) <= set(KINDS)
    assert cls.restricted <= set(cls.model_fields)
    assert set(cls.aliases) <= set(cls.model_fields)
    assert cls.field_names() == tuple(name for name in cls.model_fields if name != "status")


def test_pay_is_the_only_restricted_field():
    assert {(kind, name) for kind, cls in KINDS.items() for name in cls.restricted} == {("cost_rate", "amount")}


def test_time_and_expenses_are_the_kinds_that_come_by_the_thousand():
    assert {kind for kind, cls in KINDS.items() if cls.volume} == {"time_entry", "expense_line"}


def test_every_kind_has_a_schema_that_refuses_what_is_unknown():
    found = schemas()
    assert set(found) == set(KINDS)
    for kind, schema in found.items():
        assert schema["additionalProperties"] is False
        assert schema["description"]
        assert set(schema["properties"]) == set(KINDS[kind].model_fields)
    json.dumps(found)


def test_every_kind_is_named_by_one_class():
    assert {cls.kind: cls for cls in Canonical.__subclasses__()} == KINDS
    assert all(kind in PREFIXES for kind in KINDS)


def value_of(kind, name, value):
    return TypeAdapter(KINDS[kind].model_fields[name].rebuild_annotation()).validate_python(value)


@pytest.mark.parametrize("value", ["12.34", "-12.34", 5, Decimal("0.0001"), "1E+3", "999999999999.99"])
def test_exact_amounts_are_taken(value):
    assert value_of("invoice", "net", value) == Decimal(str(value))


@pytest.mark.parametrize(
    "value",
    [
        "1E+999999", "1_000", " 1 ", "1 ", "\n1", "١٢", "１２", "1,5", "1.234,56", "1'000", "", ".5", "5.", "0x10",
        "NaN", "sNaN", "Infinity", Decimal("NaN"), Decimal("Infinity"), True, 0.1, [7], None, {}, "1000000000000",
        "-1000000000000", "0.00000000001",
    ],
)  # fmt: skip
def test_what_readers_would_read_differently_is_no_amount(value):
    with pytest.raises(ValidationError):
        value_of("invoice", "net", value)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("time_entry", "minutes", True),
        ("time_entry", "minutes", "7"),
        ("time_entry", "minutes", 7.0),
        ("time_entry", "minutes", -1),
        ("time_entry", "minutes", 1441),
        ("time_entry", "billable", "yes"),
        ("time_entry", "billable", 1),
        ("time_entry", "worked_on", "2026-02-30"),
        ("time_entry", "worked_on", "2023-02-29"),
        ("time_entry", "worked_on", "0000-01-01"),
        ("time_entry", "worked_on", "31.08.2026"),
        ("time_entry", "worked_on", "2026-08-31T10:00:00"),
        ("time_entry", "worked_on", 45000),
        ("time_entry", "worked_on", "infinity"),
        ("time_entry", "resource", "P001"),
        ("time_entry", "resource", "res_" + "0" * 25),
        ("expense_line", "line_number", 3_000_000_000),
        ("expense_line", "line_number", -1),
        ("milestone", "sequence", True),
        ("invoice", "currency", "EURO"),
        ("invoice", "currency", "eur"),
        ("invoice", "currency", "ZZZ"),
        ("invoice", "period", "2026-13"),
        ("invoice", "period", "2026-8"),
        ("invoice", "period", "2026-08\n"),
        ("invoice", "period", "٢٠٢٦-08"),
        ("invoice", "tax_rate", "-0.01"),
        ("invoice", "tax_rate", "11"),
        ("invoice", "invoice_type", "proforma"),
        ("customer", "country", "Germany"),
        ("customer", "country", "de"),
        ("customer", "name", "x" * 401),
        ("customer", "credit_hold", 0),
        ("customer", "payment_terms_days", 10**20),
        ("customer", "payment_terms_days", -30),
        ("contract", "lines", [{"key": "L1"}]),
        ("contract", "contract_type", "amendment"),
    ],
)
def test_a_value_of_the_wrong_shape_is_refused(kind, name, value):
    with pytest.raises(ValidationError):
        value_of(kind, name, value)


@pytest.mark.parametrize("name", ["null", "None", "NaN", "true", "007", "1E5", "=1+1", "Zoë", "\U0001f600", "<b>x</b>"])
def test_names_stay_text(name):
    assert value_of("customer", "name", name) == name


def test_amounts_are_written_as_text_without_an_exponent():
    dumped = KINDS["payment"].model_validate(BODIES["payment"] | {"amount": Decimal("1E+3")}).model_dump(mode="json")
    assert dumped["amount"] == "1000"


def test_a_currency_is_checked_by_name():
    assert check_currency("JPY") == "JPY"
    with pytest.raises(ValueError, match="no ISO 4217 code"):
        check_currency("USDT")
