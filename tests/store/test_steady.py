"""P22: the database's clock jumps, and every span that is waited for stays as long as it was."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.kernel.errors import Busy
from trueup.sandbox.rigs import clock
from trueup.store import deliveries
from trueup.store.database import Database
from trueup.store.deliveries import Command
from trueup.store.steady import TOLERANCE_SECONDS, Look, Steady, jumped
from trueup.store.timely import timely

HOUR = 3600.0


@given(
    st.floats(0, 1e9),
    st.floats(0, 1e6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(-1e6, 1e6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_jump_is_seen_to_the_second_and_none_is_seen_where_none_was(at, apart, first, second, jump, early, late):
    """However long the looks took, and wherever in them the database told its time."""
    last = Look(at, at + first, at + early * first)
    this = Look(at + first + apart, at + first + apart + second, at + first + apart + late * second + jump)
    by = jumped(last, this)
    if by == 0.0:
        assert abs(jump) <= TOLERANCE_SECONDS + first + second + 1e-3
    else:
        assert abs(by - jump) <= first + second + 1e-3
    if abs(jump) <= TOLERANCE_SECONDS:
        assert by == 0.0


class Machine:
    """A machine's steady clock, and the database's, which somebody may set."""

    def __init__(self, url):
        self.elapsed = 100.0
        self.told = clock.START / clock.SECOND
        self.url = url
        self._opened = []

    def worker(self, name="machine"):
        """Open the database as a worker that has just started."""
        made = Database(self.url, size=2).open()
        made.steady = Steady(lambda: self.elapsed, name)
        self._opened.append(made)
        return made

    def pass_by(self, seconds):
        """Let time pass."""
        self.elapsed += seconds
        self.jump(seconds)

    def jump(self, seconds):
        """Let somebody set the database's clock."""
        self.told += seconds
        other = self.worker("whoever sets it")
        with other.transaction() as tx:
            clock.turn(tx, int(self.told * clock.SECOND))

    def close(self):
        for one in self._opened:
            one.close()


@pytest.fixture
def machine(database_url):
    clock.prepare(database_url)
    first = Database(database_url, size=1).open()
    with first.transaction() as tx:
        clock.wipe(tx)
        clock.turn(tx, clock.START)
    first.close()
    made = Machine(database_url)
    yield made
    made.close()


def look(database):
    with timely(database):
        pass


def silent(database):
    """Leave one delivery that met silence; it was sent for the first time just now."""
    with timely(database) as tx:
        tx.run("insert into systems (system, connector, role) values ('books', 'books', 'erp') on conflict do nothing")
        deliveries.ask(tx, [Command("k", "books", "Bill", "g", "time_entry", "bill", "C")])
        tx.run("update deliveries set state = 'sending'")
        tx.run(
            "update deliveries set state = 'unknown', silent_at = now(), first_sent_at = now(), sent_at = now(),"
            " due_at = now() + interval '60 seconds', in_doubt = true"
        )


def spans(database):
    """Return for how long it has been silent, and when it is looked for next, in seconds from now."""
    with timely(database) as tx:
        row = tx.row(
            "select extract(epoch from now() - silent_at)::float8 as silent,"
            " extract(epoch from due_at - now())::float8 as next from deliveries"
        )
    return round(row["silent"]), round(row["next"])


def jumps(database):
    with database.transaction() as tx:
        return [(round(row["seconds"]), row["moved"]) for row in tx.rows("select * from clock_jumps order by number")]


@pytest.mark.parametrize("by", [HOUR, -HOUR, 86_400.0, -86_400.0, -300.0])
def test_what_is_waited_for_moves_with_the_clock(machine, by):
    database = machine.worker()
    silent(database)
    machine.pass_by(20)
    machine.jump(by)
    assert spans(database) == (20, 40)
    machine.pass_by(30)
    assert spans(database) == (50, 10)
    assert [seconds for seconds, _ in jumps(database)] == [by]


def test_a_clock_that_goes_on_as_it_should_moves_nothing(machine):
    database = machine.worker()
    silent(database)
    for seconds in (1, 40, HOUR, 3 * 86_400):
        machine.pass_by(seconds)
        look(database)
        machine.jump(0.5)  # somebody draws it slowly to the right time
        look(database)
    assert jumps(database) == []


def test_two_workers_on_two_machines_move_it_once(machine):
    one, other = machine.worker("one"), machine.worker("other")
    silent(one)
    look(other)
    machine.jump(HOUR)
    assert spans(other) == spans(one) == (0, 60)
    assert len(jumps(one)) == 1


def test_many_threads_that_see_a_jump_at_once_move_it_once(machine):
    workers = [machine.worker(f"machine {number}") for number in range(4)]
    silent(workers[0])
    for one in workers:
        look(one)
    machine.jump(-HOUR)
    threads = [threading.Thread(target=look, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jumps(workers[0]) == [(-HOUR, 1)]
    assert spans(workers[0]) == (0, 60)


def test_a_worker_that_starts_after_the_jump_sees_it_too_on_the_same_machine(machine):
    silent(machine.worker())
    machine.pass_by(10)
    machine.jump(HOUR)
    assert spans(machine.worker()) == (10, 50)
    assert spans(machine.worker("another machine")) == (10, 50)


def test_one_who_dates_while_a_jump_is_being_mended_begins_again(machine):
    """Its own `now()` would be of the time before: it waits, and dates by the clock as it is."""
    database = machine.worker()
    silent(database)
    machine.jump(HOUR)
    with machine.worker("holder").transaction() as holder:
        holder.run("select pg_advisory_xact_lock(hashtextextended('clock', 0))")
        waiting = threading.Thread(target=look, args=(database,))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join()
    assert spans(database) == (0, 60)


def test_a_jump_that_cannot_be_mended_is_said_and_nothing_is_done(machine, monkeypatch):
    monkeypatch.setattr("trueup.store.timely.TRIES", 2)
    database = machine.worker()
    look(database)
    machine.jump(HOUR)
    with machine.worker("holder").transaction() as holder:
        holder.run("select pg_advisory_xact_lock(hashtextextended('clock', 0))")
        with pytest.raises(Busy, match="has jumped"), timely(database):
            pytest.fail("nobody may work by a clock that has jumped")
