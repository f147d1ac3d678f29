"""SuiteQL as the documentation has it: text only, no nulls, explicit dates, an order by a unique key."""

import pytest
from netsuite_bodies import customer, invoice, refused

MASK = 'YYYY-MM-DD"T"HH24:MI:SS'


def rows(web, statement: str, **window: int) -> list[dict[str, str]]:
    answer = web.query(statement, **window)
    assert answer.status_code == 200, answer.text
    return [{name: value for name, value in item.items() if name != "links"} for item in answer.json()["items"]]


def test_values_are_text_flags_are_letters_and_nulls_are_absent(web, buyer):
    found = rows(web, "SELECT id, externalid, email, isinactive, subsidiary FROM customer ORDER BY id")
    assert found == [{"id": buyer, "externalid": "cus_buyer", "isinactive": "F", "subsidiary": "2"}]


def test_transactions_share_a_table_and_are_told_apart_by_type(web, account, buyer):
    id = web.put("invoice", "inv_1", invoice(buyer))
    account.approve_invoice(id)
    account.receive_payment(id, "100.00", "2026-09-10")
    assert rows(web, "SELECT id, type, status, foreigntotal FROM transaction WHERE type = 'CustInvc' ORDER BY id") == [
        {"id": id, "type": "CustInvc", "status": "A", "foreigntotal": "1213.80"}
    ]
    types = rows(web, "SELECT id, type FROM transaction WHERE type IN ('CustInvc', 'CustPymt') ORDER BY id DESC")
    assert [row["type"] for row in types] == ["CustPymt", "CustInvc"]


def test_a_date_without_a_mask_loses_its_time(web, buyer):
    plain = rows(web, "SELECT id, lastmodifieddate FROM customer ORDER BY id")[0]["lastmodifieddate"]
    assert plain.count("/") == 2
    assert ":" not in plain
    exact = rows(web, f"SELECT id, TO_CHAR(lastmodifieddate, '{MASK}') AS stamp FROM customer ORDER BY id")[0]["stamp"]
    assert web.record("customer", buyer)["lastModifiedDate"] == f"{exact}Z"


def test_times_are_in_the_users_time_zone(web, account, buyer):
    utc = rows(web, f"SELECT id, TO_CHAR(lastmodifieddate, '{MASK}') AS stamp FROM customer ORDER BY id")[0]["stamp"]
    account.utc_offset_hours = -8
    there = rows(web, f"SELECT id, TO_CHAR(lastmodifieddate, '{MASK}') AS stamp FROM customer ORDER BY id")[0]["stamp"]
    assert there != utc
    query = f"SELECT id FROM customer WHERE lastmodifieddate >= TO_TIMESTAMP('{utc}', '{MASK}') ORDER BY id"
    assert rows(web, query) == []


def test_conditions_join_and_nest(web):
    for number in range(4):
        web.put("customer", f"c{number}", customer(companyName=f"Buyer {number}", isInactive=number > 2))
    query = (
        "SELECT companyname AS name FROM customer WHERE isinactive = 'F' AND (companyname = 'Buyer 0' OR id > 502)"
        " AND externalid IS NOT NULL AND companyname <> 'it''s' ORDER BY id"
    )
    assert [row["name"] for row in rows(web, query)] == ["Buyer 0", "Buyer 2"]
    assert rows(web, "SELECT id FROM customer WHERE email IS NOT NULL ORDER BY id") == []


def test_pages_hold_at_most_a_thousand_and_start_at_multiples(web):
    for number in range(5):
        web.put("customer", f"c{number}", customer(companyName=f"Buyer {number}"))
    page = web.query("SELECT id FROM customer ORDER BY id", limit=2, offset=2).json()
    assert (page["count"], page["hasMore"], page["totalResults"]) == (2, True, 5)
    assert refused(web.query("SELECT id FROM customer ORDER BY id", limit=1001))[1:] == ("INVALID_PARAMETER", "limit")
    answer = web.query("SELECT id FROM customer ORDER BY id", limit=2, offset=1)
    assert refused(answer)[1:] == ("INVALID_PARAMETER", "offset")


def test_a_query_without_the_transient_preference_is_refused(web):
    answer = web.call("POST", "/query/v1/suiteql", {"q": "SELECT id FROM customer ORDER BY id"})
    assert refused(answer) == (400, "INVALID_HEADER", "Prefer")
    answer = web.call("POST", "/query/v1/suiteql", {"query": 1}, Prefer="transient")
    assert refused(answer)[:2] == (400, "INVALID_CONTENT")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM customer",
        "SELECT id FROM customer ORDER BY companyname",
        "SELECT id FROM invoice ORDER BY id",
        "SELECT id, shoesize FROM customer ORDER BY id",
        "SELECT id, subsidiary FROM transaction ORDER BY id",
        "SELECT id FROM customer WHERE shoesize = 4 ORDER BY id",
        "SELECT id FROM customer WHERE lastmodifieddate >= '2026-01-01' ORDER BY id",
        "SELECT id FROM customer WHERE lastmodifieddate >= TO_TIMESTAMP('yesterday', 'YYYY-MM-DD') ORDER BY id",
        "SELECT id FROM customer WHERE lastmodifieddate >= TO_TIMESTAMP('2026-01-01', 'DD.MM.YY') ORDER BY id",
        "SELECT id FROM customer WHERE id LIKE '4%' ORDER BY id",
        "SELECT id FROM customer WHERE id = 'four' ORDER BY id",
        "SELECT c.id FROM customer c ORDER BY c.id",
        "SELECT id FROM customer ORDER BY id; DELETE FROM customer",
        "SELECT COUNT(*) FROM customer ORDER BY id",
        "DELETE FROM customer",
        "SELECT id FROM customer WHERE id = 1 ORDER BY id extra",
        "",
    ],
)
def test_what_the_reader_does_not_know_is_refused_not_guessed(web, buyer, statement):
    assert refused(web.query(statement))[:2] == (400, "INVALID_PARAMETER")


def test_deleted_records_are_listed_with_their_type(web, account, buyer):
    other = web.put("customer", "gone", customer(companyName="Gone"))
    web.call("DELETE", f"/record/v1/customer/{other}")
    found = rows(web, "SELECT recordid, type FROM deletedrecord WHERE type = 'customer' ORDER BY recordid")
    assert found == [{"recordid": other, "type": "customer"}]


def test_a_query_counts_as_no_write(web, account, buyer):
    before = len(account.journal)
    rows(web, "SELECT id FROM customer ORDER BY id")
    assert len(account.journal) == before
