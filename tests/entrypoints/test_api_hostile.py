"""Broken and hostile inputs to the API, as a table: each has its answer, none is a 500, nothing is half done."""

import json
import time
from types import SimpleNamespace

import pytest
from firm_objects import CUSTOMER, RESOURCE, contract
from wire import call, raw_call

from trueup.entrypoints.api import app
from trueup.kernel.errors import Broken, Busy, Held, Refused, Unsettled

PLACE = "/v1/customers/salesforce:hostile"
WHOLE = json.dumps(CUSTOMER).encode()


@pytest.fixture(scope="module")
def crm(api):
    return api("objects:read", "objects:write", "role:crm", name="crm")


@pytest.fixture(scope="module")
def customer(crm):
    return crm.put("/v1/customers/salesforce:sound", CUSTOMER).json()["gid"]


def untouched(house) -> tuple[int, ...]:
    with house.database.transaction() as tx:
        tables = tx.row(
            "select (select count(*) from objects), (select count(*) from changes), (select count(*) from crosswalk),"
            " (select count(*) from requests), (select count(*) from time_entries)"
        )
    return tuple(tables.values())


BYTES = {
    "A1 empty": (b"", 400),
    "A1 whitespace": (b" \n\t", 400),
    "A2 not UTF-8": (b'{"name": "\xff"}', 400),
    "A2 overlong": (b'{"name": "\xc0\xaf"}', 400),
    "A2 UTF-16": (WHOLE.decode().encode("utf-16"), 400),
    "A2 UTF-32": (WHOLE.decode().encode("utf-32"), 400),
    "A3 byte order mark": (b"\xef\xbb\xbf" + WHOLE, 400),
    "A4 NUL": (b'{"name": "a\\u0000b"}', 400),
    "A4 raw NUL": (b'{"name": "a\x00b"}', 400),
    "A5 lone surrogate": (b'{"name": "\\ud800"}', 400),
    "A6 a key twice": (b'{"name": "a", "name": "b"}', 400),
    "A6 a key twice, escaped": (b'{"name": "a", "n\\u0061me": "b"}', 400),
    "A7 full-width key": ('{"ｎame": "a"}'.encode(), 422),
    "A7 other case": (b'{"Name": "a"}', 422),
    "A8 depth 65": (b"[" * 65 + b"]" * 65, 400),
    "A8 100,000 brackets": (b"[" * 100_000, 400),
    "A8 100,000 objects": (b'{"a":' * 100_000, 400),
    "A10 100,000 values": (b'{"lines": [' + b"1," * 100_000 + b"1]}", 400),
    "A11 NaN": (b'{"payment_terms_days": NaN}', 400),
    "A11 Infinity": (b'{"payment_terms_days": -Infinity}', 400),
    "A12 1e400": (b'{"payment_terms_days": 1e400}', 400),
    "A12 1e131071": (b'{"payment_terms_days": 1e131071}', 400),
    "A13 5,000 digits": (b'{"payment_terms_days": ' + b"9" * 5000 + b"}", 400),
    "A14 comment": (b'{"name": "a"} // b', 400),
    "A14 trailing comma": (b'{"name": "a",}', 400),
    "A14 single quotes": (b"{'name': 'a'}", 400),
    "A14 trailing bytes": (WHOLE + WHOLE, 400),
    "A15 prototype": (b'{"__proto__": {"name": 1}}', 422),
    "A15 constructor": (b'{"constructor": {"prototype": {}}}', 422),
    "a list": (b"[" + WHOLE + b"]", 400),
    "text": (b'"name"', 400),
    "null": (b"null", 400),
    "half": (WHOLE[:-5], 400),
    "nothing said": (b"{}", 422),
    "XML": (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 400),
}


@pytest.mark.parametrize(("body", "status"), BYTES.values(), ids=BYTES)
def test_broken_bytes_are_refused_and_leave_nothing(house, crm, body, status):
    before = untouched(house)
    began = time.monotonic()
    answer = crm.put(PLACE, body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == ("not_json" if status == 400 else "invalid")
    assert time.monotonic() - began < 1
    assert untouched(house) == before
    assert b"Traceback" not in answer.body


CONTENT = {
    "text": [("Content-Type", "text/plain")],
    "missing": [],
    "UTF-7": [("Content-Type", "application/json; charset=utf-7")],
    "two": [("Content-Type", "application/json"), ("Content-Type", "application/json")],
    "form": [("Content-Type", "application/x-www-form-urlencoded")],
    "multipart": [("Content-Type", "multipart/form-data; boundary=x")],
    "gzip": [("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
    "unknown encoding": [("Content-Type", "application/json"), ("Content-Encoding", "zstd")],
}


@pytest.mark.parametrize("headers", CONTENT.values(), ids=CONTENT)
def test_anything_but_plain_json_is_refused_by_its_type(house, base, crm, headers):
    before = untouched(house)
    common = [("Authorization", f"Bearer {crm.token}"), ("Idempotency-Key", "type")]
    answer = call(base, "PUT", PLACE, WHOLE, common + headers)
    assert (answer.status, answer.json()["code"]) == (415, "media_type")
    assert untouched(house) == before


def test_json_may_say_that_it_is_utf_8(crm):
    headers = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    assert crm.put("/v1/customers/salesforce:utf8", CUSTOMER, headers=headers).status == 201


def test_sixty_megabytes_are_refused_before_they_are_read(base, crm):
    head = (
        f"PUT {PLACE} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {crm.token}\r\nContent-Type: application/json\r\n"
        "Idempotency-Key: k\r\nContent-Length: 60000000\r\n\r\n"
    )
    assert raw_call(base, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_header_of_a_hundred_kilobytes_is_refused(base):
    answer = raw_call(base, b"GET /v1/customers HTTP/1.1\r\nHost: hub\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431")


VALUES = [
    ("C1 exponent as text", "value", "1E+999999"),
    ("C1 underscore", "value", "1_000"),
    ("C1 blanks", "value", " 1 "),
    ("C1 Arabic digits", "value", "١٢"),
    ("C1 full-width digits", "value", "１２"),
    ("C1 plus", "value", "+1"),
    ("C1 leading zeros", "value", "007"),
    ("C1 NaN as text", "value", "NaN"),
    ("C1 Infinity as text", "value", "Infinity"),
    ("C1 empty text", "value", ""),
    ("C2 comma", "value", "1,5"),
    ("C2 thousands", "value", "1.234,56"),
    ("C2 apostrophes", "value", "1'000"),
    ("C2 currency sign", "value", "€12"),
    ("C3 true", "value", True),
    ("C3 list", "value", [7]),
    ("C3 object", "value", {"amount": 7}),
    ("C3 null", "value", None),
    ("C3 text for days", "payment_terms_days", "7"),
    ("C3 flag for days", "payment_terms_days", True),
    ("C3 fraction for days", "payment_terms_days", 7.5),
    ("C5 three decimals of a euro", "value", "12.345"),
    ("C5 too large", "value", "1000000000000.00"),
    ("C5 endless digits", "value", "0." + "1" * 30),
    ("C6 EURO", "currency", "EURO"),
    ("C6 lower case", "currency", "eur"),
    ("C6 the code that ISO 4217 has for no currency at all", "currency", "XXX"),
    ("C6 test currency", "currency", "XTS"),
    ("C6 retired kuna", "currency", "HRK"),
    ("C6 retired lev", "currency", "BGN"),
    ("C6 token", "currency", "USDT"),
    ("C6 number", "currency", 978),
    ("D day as number", "starts_on", 20260801),
    ("D no such day", "starts_on", "2026-02-30"),
    ("D instant", "starts_on", "2026-08-01T00:00:00Z"),
    ("D American", "starts_on", "08/01/2026"),
    ("D week", "starts_on", "2026-W31-1"),
    ("D Arabic digits", "starts_on", "٢٠٢٦-٠٨-٠١"),
    ("J3 version", "version", 7),
    ("J3 gid", "gid", "con_00000000000000000000000000"),
    ("J3 kind", "kind", "customer"),
    ("J3 legal entity of the envelope", "legal_entity", "US01"),
    ("J3 tombstone", "tombstone", "deleted"),
    ("J3 approved by", "approved_by", "me"),
    ("text for a list", "lines", "all"),
    ("number for text", "name", 7),
    ("endless text", "name", "x" * 401),
    ("unknown status", "status", "won"),
    ("unknown choice", "contract_type", "framework"),
    ("a reference that is none", "customer", "nobody"),
    ("a reference of another kind", "customer", "prj_00000000000000000000000000"),
    ("SQL", "customer", "x'; drop table objects; --"),
]


DAYS = [2**31, 2**53 + 1, 2**63, 2**64, -(2**63)]


@pytest.mark.parametrize("days", DAYS)
def test_a_senseless_number_of_days_is_no_fault(crm, days):
    answer = crm.put(f"/v1/customers/salesforce:days{days}", CUSTOMER | {"payment_terms_days": days})
    assert answer.status in (201, 422)


@pytest.mark.parametrize(("field", "value"), [v[1:] for v in VALUES], ids=[v[0] for v in VALUES])
def test_a_wrong_value_is_refused_at_its_place(house, crm, customer, field, value):
    before = untouched(house)
    answer = crm.put("/v1/contracts/salesforce:hostile", contract(customer) | {field: value})
    assert answer.status == 422, answer.body
    errors = answer.json()["errors"]
    assert f"/{field}" in {one["pointer"] for one in errors}
    assert all(set(one) == {"pointer", "code", "got", "expected"} for one in errors)
    assert untouched(house) == before


def test_every_wrong_place_is_named_at_once(crm, customer):
    body = contract(customer) | {"value": "1,5", "curency": "EUR", "starts_on": "soon"}
    body["lines"][0] |= {"cap": True, "markup_share": "5 %", "surprise": 1}
    errors = crm.put("/v1/contracts/salesforce:hostile", body).json()["errors"]
    assert {(one["pointer"], one["code"]) for one in errors} == {
        ("/value", "not_a_number"),
        ("/curency", "unknown_field"),
        ("/starts_on", "not_a_day"),
        ("/lines/0/cap", "not_a_number"),
        ("/lines/0/markup_share", "not_a_number"),
        ("/lines/0/surprise", "unknown_field"),
    }
    assert next(one["expected"] for one in errors if one["pointer"] == "/curency") == "did you mean currency?"


def test_what_is_missing_is_named(crm):
    errors = crm.put(PLACE, {"name": "Half a customer"}).json()["errors"]
    assert {(one["pointer"], one["code"]) for one in errors} == {("/country", "missing"), ("/currency", "missing")}


SOUND = [
    ("12400.00", "12400.00"),
    ("12400", "12400"),
    (12401, "12401"),
    ("12400.1", "12400.1"),
    ("-12400.10", "-12400.10"),
    ("-0", "0"),
    ("-0.00", "0.00"),
]


@pytest.mark.parametrize(("given", "kept"), SOUND)
def test_a_sound_amount_is_kept_to_the_digit(crm, customer, given, kept):
    place = f"/v1/contracts/salesforce:sound{given}"
    assert crm.put(place, contract(customer, f"S{given}") | {"value": given}).status == 201
    assert crm.get(place).json()["body"]["value"] == kept


def test_a_json_number_keeps_every_digit(crm, customer):
    body = json.dumps(contract(customer, "N1")).replace('"value": "12000.00"', '"value": 123456789012.34').encode()
    assert crm.put("/v1/contracts/salesforce:number", body).status == 201
    assert crm.get("/v1/contracts/salesforce:number").json()["body"]["value"] == "123456789012.34"


@pytest.mark.parametrize(
    ("currency", "value", "status"),
    [("JPY", "1.5", 422), ("JPY", "2", 201), ("KWD", "1.234", 201), ("KWD", "1.2345", 422)],
)
def test_an_amount_has_no_more_digits_than_its_currency(crm, customer, currency, value, status):
    body = contract(customer, f"{currency}{value}") | {"currency": currency, "value": value, "lines": []}
    answer = crm.put(f"/v1/contracts/salesforce:{currency}{value}", body)
    assert answer.status == status
    if status == 422:
        assert answer.json()["errors"][0]["code"] == "not_exact"


@pytest.mark.parametrize("minutes", [-1, 1441, "60", True, 7.5, None, 1e3])
def test_minutes_are_whole_and_of_one_day(api, house, minutes):
    psa = api("objects:write", "role:psa", name="psa")
    body = {"resource": "x:1", "project": "x:2", "worked_on": "2026-08-03", "minutes": minutes}
    answer = psa.put("/v1/time-entries/kantata:1", body)
    assert answer.status == 422
    assert "/minutes" in {one["pointer"] for one in answer.json()["errors"]} or minutes in (-1, 1441)


@pytest.mark.parametrize(
    "identifier",
    [
        "nobody",
        "cus_" + "0" * 26,
        "cus_" + "%01" * 26,
        "prj_" + "0" * 26,
        "salesforce:",
        ":x",
        "*:x",
        "Sales%20force:x",
        "salesforce:" + "x" * 201,
        "salesforce:a%0Ab",
        "salesforce:%E2%80%AEb",
        "..%2F..%2Fetc%2Fpasswd",
        "%F0%9F%92%A9",
        "x'%20or%20'1'%3D'1",
        "%ff%fe",
    ],
)
def test_an_identifier_that_is_none_finds_nothing_and_makes_nothing(house, crm, identifier):
    before = untouched(house)
    for answer in (crm.get(f"/v1/customers/{identifier}"), crm.put(f"/v1/customers/{identifier}", CUSTOMER)):
        assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert untouched(house) == before


def test_an_identifier_of_another_kind_is_not_found(crm, customer):
    assert crm.get(f"/v1/contracts/{customer}").status == 404
    assert crm.get("/v1/contracts/salesforce:sound").status == 404


@pytest.mark.parametrize(
    "query",
    [
        "name=%27%20or%201%3D1",
        "name=%00",
        "name=" + "x" * 501,
        "industry%5B%5D=a",
        "sort=name",
        "fields=amount",
        "name;drop=1",
    ],
)
def test_a_hostile_query_finds_nothing(crm, query):
    answer = crm.get(f"/v1/customers?{query}")
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json()["items"] == []


def test_markup_and_odd_texts_come_back_as_they_were_said(crm):
    for number, name in enumerate(
        ("<script>alert(1)</script>", "=cmd|'/C calc'!A0", "{{7*7}}", "Ω\u202eevil", "a\u2028b", "🏔")
    ):
        place = f"/v1/customers/salesforce:odd{number}"
        assert crm.put(place, CUSTOMER | {"name": name}).status == 201
        answer = crm.get(place)
        assert answer.json()["body"]["name"] == name
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_person_is_made_once_whatever_the_body_says(api, house):
    hris = api("objects:read", "objects:write", "role:hris", name="hris")
    answer = hris.put("/v1/resources/bamboohr:77", RESOURCE | {"weekly_hours": "40"})
    assert answer.status == 201
    assert hris.put("/v1/resources/bamboohr:77", RESOURCE | {"weekly_hours": 40}, at='"1"').json()["changed"] is False


TROUBLE = [
    (Busy("pool exhausted", 7.4), 503, "busy", True),
    (Unsettled("the system did not answer"), 503, "busy", True),
    (Held("a rule wants a person", "CAP_EXCEEDED"), 409, "held", False),
    (Refused("no such record", "NOT_FOUND", 404), 502, "system_refused", False),
    (Refused("not allowed", "X"), 422, "refused", False),
    (Broken("secret setting"), 500, "fault", False),
    (RuntimeError("secret internals"), 500, "fault", False),
    (KeyError("secret key"), 500, "fault", False),
]


@pytest.mark.parametrize(("fault", "status", "code", "retryable"), TROUBLE, ids=[repr(one[0])[:30] for one in TROUBLE])
def test_whatever_happens_inside_is_answered_as_a_problem(house, fault, status, code, retryable):
    def fail() -> None:
        raise fault

    failing = type(house)(SimpleNamespace(transaction=fail), {}, {}, {}, house.ownership, house.firm)
    with app.running(app.create(failing)) as base:
        answer = call(base, "GET", "/v1/customers", headers={"Authorization": "Bearer x"})
    problem = answer.json()
    assert (answer.status, problem["status"], problem["code"], problem["retryable"]) == (
        status,
        status,
        code,
        retryable,
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    if status == 500:
        assert len(problem["report"]) == 16
    if status == 503:
        assert int(answer.headers["retry-after"]) in (5, 7)
