"""Documents over a vendor's limit are written in parts and are one document, whatever happens in between."""

from decimal import Decimal

import pytest
from netsuite_bodies import customer, invoice, line

from trueup.kernel.errors import Refused, Unsettled
from trueup.pipeline.chunks import send

LINES = 5000
TOTAL = sum((Decimal(100 + n % 7) + Decimal("0.01") * (n % 97) for n in range(LINES)), Decimal(0))


@pytest.fixture
def body(client):
    buyer = client.send("customer", "cus_buyer", customer(), None).external_id
    amounts = [Decimal(100 + n % 7) + Decimal("0.01") * (n % 97) for n in range(LINES)]
    lines = [
        line(f"{n}-time", quantity=1, rate=amount, amount=amount, description=f"line {n}")
        for n, amount in enumerate(amounts)
    ]
    return invoice(buyer, *lines, taxTotal=0)


def held(account):
    """Return the one invoice the account holds, and the sum of its lines."""
    (found,) = account.store.table("invoice").values()
    return found, sum((Decimal(str(item["amount"])) for item in found["item"]), Decimal(0))


class Killed(BaseException):
    """The process ends here."""


def test_f13_a_5000_line_invoice_posts_in_chunks_with_one_identity_to_the_cent(client, account, body):
    receipt = send(client, "invoice", "inv_big", body, None, "inv_big#1")
    found, total = held(account)
    assert found["id"] == receipt.external_id
    assert len(found["item"]) == LINES
    assert total == TOTAL
    assert client.find("invoice", "inv_big").external_id == receipt.external_id
    writes = [path for _, path in account.journal if "/invoice" in path]
    assert len(writes) == LINES / 1000


@pytest.mark.parametrize("after", [0, 1, 3])
def test_f13_a_kill_between_two_chunks_is_taken_up_where_it_was(client, account, body, after):
    part, made = client.part, []

    def dies(*arguments):
        if len(made) == after:
            raise Killed
        made.append(arguments)
        part(*arguments)

    client.part = dies
    with pytest.raises(Killed):
        send(client, "invoice", "inv_big", body, None, "inv_big#1")
    assert len(held(account)[0]["item"]) == 1000 * (after + 1)
    client.part = part
    send(client, "invoice", "inv_big", body, None, "inv_big#1")
    found, total = held(account)
    assert (len(found["item"]), total) == (LINES, TOTAL)


def test_a_part_whose_answer_was_lost_is_not_added_twice(client, account, body):
    part = client.part

    def silent(*arguments):
        client.part = part
        part(*arguments)
        raise Unsettled("no answer")

    client.part = silent
    with pytest.raises(Unsettled):
        send(client, "invoice", "inv_big", body, None, "inv_big#1")
    send(client, "invoice", "inv_big", body, None, "inv_big#1")
    found, total = held(account)
    assert (len(found["item"]), total) == (LINES, TOTAL)


def test_an_older_version_of_the_document_is_replaced_and_not_mixed_in(client, account, body):
    older = {**body, "item": {"items": [line("of-another-version", amount=5, rate=5, quantity=1)]}}
    send(client, "invoice", "inv_big", older, None, "inv_big#1")
    send(client, "invoice", "inv_big", body, None, "inv_big#1")
    found, total = held(account)
    assert (len(found["item"]), total) == (LINES, TOTAL)


def test_a_document_that_does_not_tie_is_never_called_delivered(client, account, body):
    part = client.part

    def mixes_in(object_name, external_id, more):
        extra = more.get("item", {}).get("items", [])
        part(object_name, external_id, {"item": {"items": [*extra, dict(extra[0])]}} if extra else more)

    client.part = mixes_in
    with pytest.raises(Refused) as no:
        send(client, "invoice", "inv_big", body, None, "inv_big#1")
    assert no.value.code == "TOTALS_DIFFER"


def test_a_small_document_takes_one_call_as_ever(client, account, body):
    body["item"]["items"] = body["item"]["items"][:3]
    send(client, "invoice", "inv_small", body, None, "inv_small#1")
    assert len([path for _, path in account.journal if "/invoice" in path]) == 1
