"""A simulator's journal survives a kill: what was written as one is there whole or not at all."""

from contextlib import closing
from pathlib import Path

import pytest

from trueup.connectors.sdk.simulate import Store


def filled(journal: Path) -> Store:
    store = Store(journal)
    store.put("things", "1", {"id": "1"})
    with store.as_one():
        store.put("things", "2", {"id": "2"})
        store.delete("things", "1")
        assert store.next_number("things") == 1
    store.close()
    return store


def test_what_was_written_as_one_is_read_again(tmp_path: Path) -> None:
    first = filled(tmp_path / "journal")
    with closing(Store(tmp_path / "journal")) as again:
        assert again.tables == first.tables == {"things": {"2": {"id": "2"}}}
        assert again.deleted == first.deleted
        assert again.next_number("things") == 2


def test_a_cut_line_is_dropped_whole_and_the_journal_goes_on_behind_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    filled(journal)
    whole = journal.read_bytes()
    start_of_block = whole.index(b"\n") + 1
    for cut in (start_of_block + 1, len(whole) - 20, len(whole) - 1):
        journal.write_bytes(whole[:cut])
        with closing(Store(journal)) as store:
            assert store.table("things") == {"1": {"id": "1"}}
            store.put("things", "3", {"id": "3"})
        with closing(Store(journal)) as store:
            assert set(store.table("things")) == {"1", "3"}


def fail_after_writing(store: Store) -> None:
    with store.as_one():
        store.put("things", "1", {"id": "1"})
        raise ValueError


def test_a_failure_inside_keeps_what_was_done_before_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "journal")) as store:
        with pytest.raises(ValueError):
            fail_after_writing(store)
        store.put("things", "2", {"id": "2"})
    with closing(Store(tmp_path / "journal")) as store:
        assert set(store.table("things")) == {"1", "2"}
