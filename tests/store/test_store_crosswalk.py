"""Who is who in which system."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trueup.store import crosswalk
from trueup.store.crosswalk import ANY, Link

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


def put(database, *links):
    with database.transaction() as tx:
        crosswalk.put(tx, links)


def find(database, *keys):
    with database.transaction() as tx:
        return crosswalk.find(tx, keys)


def test_a_link_is_found_by_its_key(empty):
    link = Link("crm", "Account", "001", "cus_1", "5", "digest")
    put(empty, link)
    key = ("crm", "Account", "001")
    assert find(empty, key, ("crm", "Account", "002"), ("erp", "Account", "001")) == {key: link}
    assert find(empty) == {}


def test_a_key_of_the_firms_own_answers_for_every_system(empty):
    put(empty, Link(ANY, "project_code", "D07", "prj_1"))
    found = find(empty, ("concur", "project_code", "D07"), ("psa", "project_code", "D07"), (ANY, "project_code", "D07"))
    assert {key: link.gid for key, link in found.items()} == dict.fromkeys(
        [("concur", "project_code", "D07"), ("psa", "project_code", "D07"), (ANY, "project_code", "D07")], "prj_1"
    )


def test_the_newest_stamp_stays_and_what_is_not_given_stays(empty):
    key = ("crm", "Account", "001")
    put(empty, Link(*key, "cus_1", "5", "digest"))
    put(empty, Link(*key, "cus_1", "3"))
    assert find(empty, key)[key] == Link(*key, "cus_1", "5", "digest")
    put(empty, Link(*key, "cus_1", "7", "other"))
    assert find(empty, key)[key] == Link(*key, "cus_1", "7", "other")
    put(empty, Link(*key, "cus_1"))
    assert find(empty, key)[key] == Link(*key, "cus_1", "7", "other")


def test_a_key_may_be_put_twice_at_once(empty):
    key = ("crm", "Account", "001")
    put(empty, Link(*key, "cus_1", "5"), Link(*key, "cus_2", "6"))
    assert find(empty, key)[key].gid == "cus_2"


def test_everything_a_system_calls_an_object_is_listed(empty):
    put(
        empty,
        Link("crm", "Account", "001", "cus_1"),
        Link("erp", "customer", "9", "cus_1"),
        Link("erp", "x", "1", "cus_2"),
    )
    with empty.transaction() as tx:
        assert {(link.system, link.external_id) for link in crosswalk.of(tx, ["cus_1"])} == {
            ("crm", "001"),
            ("erp", "9"),
        }
        assert crosswalk.of(tx, []) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(links=st.lists(st.tuples(TEXT, TEXT, TEXT, st.none() | TEXT), min_size=1, max_size=6))
def test_any_text_may_be_an_identifier(empty, links):
    put(empty, *(Link(f"s{system}", object, id, "cus_1", "", written) for system, object, id, written in links))
    keys = [(f"s{system}", object, id) for system, object, id, _ in links]
    assert set(find(empty, *keys)) == set(keys)


def test_writers_in_any_order_do_not_block_each_other(empty):
    links = [Link("crm", "Account", str(number), f"cus_{number}") for number in range(40)]

    def write(turn):
        for _ in range(5):
            put(empty, *(links if turn % 2 else links[::-1]))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    with empty.transaction() as tx:
        assert tx.value("select count(*) from crosswalk") == 40


@pytest.mark.parametrize("wanted", ["001", "9", "cus_1"])
def test_an_object_is_found_by_any_identifier(empty, wanted):
    put(empty, Link("crm", "Account", "001", "cus_1"), Link("erp", "customer", "9", "cus_1"))
    with empty.transaction() as tx:
        assert {link.gid for link in crosswalk.anything(tx, wanted)} == {"cus_1"}
        assert crosswalk.anything(tx, "nothing") == []
