"""How far each reader has read, and how each system feels."""

from trueup.store import cursors


def test_a_cursor_moves_with_the_records_it_passes(empty):
    with empty.transaction() as tx:
        assert cursors.get(tx, "crm", "Account") is None
        cursors.advance(tx, "crm", "Account", '{"at": 1}', 3)
        cursors.advance(tx, "crm", "Account", '{"at": 2}', 4)
        assert cursors.get(tx, "crm", "Account") == '{"at": 2}'
        assert cursors.get(tx, "crm", "Contact") is None
        assert tx.value("select records from cursors") == 7


def feel(database, **how):
    with database.transaction() as tx:
        cursors.felt(tx, "crm", **how)
        return tx.row("select * from systems where system = 'crm'")


def register(database):
    with database.transaction() as tx:
        cursors.register(tx, "crm", "acme", "crm")


def test_a_system_is_registered_once(empty):
    register(empty)
    with empty.transaction() as tx:
        cursors.register(tx, "crm", "acme2", "erp")
        (found,) = cursors.all_systems(tx)
    assert (found["connector"], found["role"]) == ("acme2", "erp")


def test_how_calls_went_is_noted(empty):
    register(empty)
    found = feel(empty, calls=3)
    assert (found["calls"], found["errors"], found["last_error"]) == (3, 0, None)
    assert found["last_ok_at"]
    well = found["last_ok_at"]
    found = feel(empty, error="no answer")
    assert (found["calls"], found["errors"], found["last_error"], found["last_ok_at"]) == (4, 1, "no answer", well)
    assert found["last_error_at"]


def test_a_system_that_asked_for_a_pause_is_left_alone_for_the_longest(empty):
    register(empty)

    def paused():
        with empty.transaction() as tx:
            return cursors.paused(tx, "crm")

    assert not paused()
    feel(empty, error="429", pause=3600)
    assert paused()
    feel(empty, error="429", pause=0)
    assert paused()
    with empty.transaction() as tx:
        tx.run("update systems set paused_until = now() - interval '1 second'")
        assert not cursors.paused(tx, "nobody")
    assert not paused()


def test_every_text_of_a_mapping_is_kept_by_its_hash(empty):
    with empty.transaction() as tx:
        cursors.keep_text(tx, "d1", "m", 1, "text")
        cursors.keep_text(tx, "d1", "m", 1, "other text")
        cursors.keep_text(tx, "d2", "m", 2, "text 2")
        assert [row["body"] for row in tx.rows("select body from texts order by digest")] == ["text", "text 2"]
