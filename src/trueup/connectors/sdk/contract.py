"""The suite every connector must pass: its client against its simulator, over the real wire.

A connector brings samples in `cases/`:

    contract.json        {before: [step], options: {...},
                          reads: {object: {at_least: 3, change: step, id: "{x.id}", repeats: "why"}}}
                         `before` fills the vendor; `options` of the connection make small pages; `change` edits a
                         record as a person would, and `id` says which one the next read must then show; `repeats`
                         says why one sweep may show the same version of a record twice (the inbox drops it)
    write_<object>.json  {object, before: [step], key, external_id, body, exists, counts, refused: [{body, code}]}
                         `exists`: the record is there before we write to it; `counts`: tables whose rows are counted
                         (all tables otherwise); `refused`: bodies the vendor says no to, with its code

A step is {method, arguments, as, repeat}: what a person does in the simulator. `{run}` is a number that is new in each
check, `{n}` counts a repeated step, and `{name.path}` is what the step called `name` gave back.
"""

import json
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from trueup.connectors.sdk.auth import OAuth
from trueup.connectors.sdk.client import Pace, VendorClient, retry_after
from trueup.connectors.sdk.registry import Connector
from trueup.connectors.sdk.simulate import Response, Simulator
from trueup.connectors.sdk.standing import shown
from trueup.connectors.sdk.webhook import refuse, sign
from trueup.connectors.sdk.wire import Answer, Connection, Receipt, Record
from trueup.kernel.errors import Busy, Refused, Trouble, Unsettled

TIERS = ("bronze", "silver", "gold", "platinum")
MOST_PAGES = 500
SECOND_AND_A_BIT = 1.1
_PLACE = re.compile(r"\{([a-z_]\w*(?:\.\w+)*)\}")
_HEAD = re.compile(r"^mapping:\s*(?:(\w+)\.)?(\w+)\s*->\s*(?:(\w+)\.)?(\w+)\s*$", re.MULTILINE)


class Arena(Protocol):
    """A running simulator: how to reach it, what is inside, and how to make its next answer go wrong."""

    connection: Connection
    simulator: Simulator

    def fault(self, kind: str, *, writes: bool = False) -> None:
        """Let the next request (or write) meet `429`, `5xx`, `500` or, after it is committed, `unk`."""

    def relent(self) -> None:
        """Take back faults that have not happened."""


class Judge(Protocol):
    """What the mapping room does; handed in, because a connector does not know that room."""

    def failures(self, source: str, verbs: Mapping[str, Any]) -> list[str]:
        """Run a mapping file's examples; return what is wrong."""

    def meaning(self, source: str, verbs: Mapping[str, Any], record: Any) -> Any:
        """Return what a record means by an inward mapping file, as something that can be compared."""


class Failed(Exception):
    """A check that did not hold, in one sentence."""


class Skipped(Exception):
    """A check that does not apply to this connector, and why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended.

    state   passed, failed or skipped
    reason  why it failed or does not apply
    """

    check: str
    state: str
    reason: str = ""


@dataclass
class Trial:
    """One connector before its judges."""

    connector: Connector
    arena: Arena
    judge: Judge | None = None
    run: int = 0
    names: dict[str, Any] = field(default_factory=dict)
    filled: bool = False
    _clients: list[VendorClient] = field(default_factory=list)

    def client(self, *, small: bool = False, credentials: Mapping[str, str] | None = None) -> VendorClient:
        """Make a client of its own; without the vendor's pace, which is not under test.

        small        with the options that make small pages
        credentials  replace those of the connection
        """
        base = self.arena.connection
        options = {
            **base.options,
            **({str(k): str(v) for k, v in self.case().get("options", {}).items()} if small else {}),
        }
        connection = replace(base, options=options, credentials={**base.credentials, **(credentials or {})})
        made = self.connector.client(self.connector.manifest, connection)
        made.pace = Pace(10_000, 8)
        self._clients.append(made)
        return made

    def case(self) -> dict[str, Any]:
        """Return `cases/contract.json`, empty when there is none."""
        path = self.connector.folder / "cases" / "contract.json"
        return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}

    def fill(self) -> None:
        """Fill the vendor once, and let the second pass in which it happened."""
        if not self.filled:
            self.filled = True
            self.do(self.case().get("before", []), self.names)
            time.sleep(SECOND_AND_A_BIT)

    def do(self, steps: Sequence[Mapping[str, Any]], names: dict[str, Any]) -> None:
        """Let people act in the simulator."""
        simulator = self.arena.simulator
        for step in steps:
            for n in range(1, int(step.get("repeat", 1)) + 1):
                arguments = _put_in(step.get("arguments", {}), {**names, "n": n, "run": self.run})
                with simulator.lock:
                    done = getattr(simulator, step["method"])(**arguments)
                    simulator.store.flush()
                if "as" in step:
                    names[step["as"]] = done

    def sweep(self, client: VendorClient, object: str, cursor: str | None = None) -> tuple[list[Record], str]:
        """Read everything from a cursor on; return the records and the last cursor."""
        found: list[Record] = []
        for _ in range(MOST_PAGES):
            page = client.changes(object, cursor)
            found += page.records
            cursor = page.cursor
            if not page.more:
                return found, cursor
        raise Failed(f"{object}: {MOST_PAGES} pages and still more")

    def writes(self) -> list["Sample"]:
        """Return a fresh sample for every object the connector writes; its `before` has been done."""
        self.fill()
        self.run += 1
        samples = []
        for object in self.connector.manifest.writes:
            path = self.connector.folder / "cases" / f"write_{object}.json"
            if not path.is_file():
                raise Failed(f"cases/{path.name} is missing: there is no sample to write {object} with")
            case = json.loads(path.read_text("utf-8"))
            names = {**self.names, "run": self.run}
            self.do(case.get("before", []), names)
            samples.append(Sample(object, {key: _put_in(value, names) for key, value in case.items()}))
        if not samples:
            raise Skipped("writes nothing")
        return samples

    def rows(self, sample: "Sample") -> int:
        """Count the vendor's rows, or those of the tables the sample names."""
        with self.arena.simulator.lock:
            tables = self.arena.simulator.store.tables
            return sum(len(rows) for name, rows in tables.items() if sample.counts(name))

    def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            client.close()
        self._clients.clear()


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to write."""

    object: str
    case: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Our key for it."""
        return str(self.case["key"])

    @property
    def external_id(self) -> str | None:
        """The vendor's id, where the record is there before we write to it."""
        return self.case.get("external_id")

    def counts(self, table: str) -> bool:
        """Say whether this table's rows are an effect of the write."""
        named = self.case.get("counts")
        return table in named if named else not table.startswith("_")

    def send(self, client: VendorClient, external_id: str | None = None) -> Receipt:
        """Write it."""
        return client.send(self.object, self.key, dict(self.case["body"]), external_id or self.external_id)


# --- the folder ------------------------------------------------------------------------------------------------------


def has_a_manifest_that_says_where_from(trial: Trial) -> None:
    """The manifest loads (or there would be no trial), names its folder, and gives a source for its limits."""
    manifest = trial.connector.manifest
    _hold(manifest.connector == trial.connector.folder.name, "the folder has another name than the manifest")
    _hold(bool(manifest.limits.source.strip()), "limits have no source")
    _hold((trial.connector.folder / "README.md").is_file(), "README.md is missing")
    _hold(trial.connector.simulator is not None, "sandbox.py is missing")


def keeps_the_rules_of_its_tier(trial: Trial) -> None:
    """Bronze: mappings and simulator. Silver: find for each send, refusals, sources. Gold: webhooks and behaviours."""
    connector = trial.connector
    manifest, tier = connector.manifest, TIERS.index(connector.manifest.tier)
    _hold(bool(connector.mappings), "there is no mapping")
    if tier >= 1:
        finds = connector.client.find is not VendorClient.find
        _hold(finds or not manifest.writes, "writes without find: silver needs one for each send")
        _hold(bool(manifest.refusals), "the table of refusals is empty")
        _hold(bool(manifest.sources), "sources are missing")
    if tier >= 2:
        readme = (connector.folder / "README.md").read_text("utf-8")
        _hold(manifest.webhook is not None, "gold needs the vendor's calls")
        _hold("behaviours" in readme.lower(), "gold needs the vendor's behaviours in README.md")
    if tier >= 3:
        cases = (connector.folder / "cases").glob("*.json")
        _hold(any('"tenant"' in case.read_text("utf-8") for case in cases), "platinum needs cases of a real tenant")


def maps_what_it_reads_and_writes(trial: Trial) -> None:
    """Every object of the manifest has a mapping in its direction, and no mapping is for an unknown object."""
    manifest = trial.connector.manifest
    inward: set[str] = set()
    outward: set[str] = set()
    for name, text in trial.connector.mappings.items():
        head = _HEAD.search(text)
        if head is None:
            raise Failed(f"mappings/{name} has no line `mapping: a.b -> c`")
        (inward if head[1] else outward).add(head[2] if head[1] else head[4])
    for what, has, wanted in (("read", inward, manifest.reads), ("written", outward, manifest.writes)):
        _hold(has <= set(wanted), f"mapped but not {what}: {', '.join(sorted(has - set(wanted)))}")
        _hold(set(wanted) <= has, f"{what} but not mapped: {', '.join(sorted(set(wanted) - has))}")


def keeps_its_mapping_examples(trial: Trial) -> None:
    """Every mapping file does what its own examples say."""
    if trial.judge is None:
        raise Skipped("no mapping room at hand")
    wrong = [
        one
        for name in sorted(trial.connector.mappings)
        for one in trial.judge.failures(trial.connector.mappings[name], trial.connector.verbs)
    ]
    _hold(not wrong, "; ".join(wrong[:3]))


# --- reading ---------------------------------------------------------------------------------------------------------


def signs_in_again_when_a_token_ends(trial: Trial) -> None:
    """A token the vendor no longer takes is replaced, once, and the call goes through."""
    trial.fill()
    client, object = trial.client(), _first_read(trial)
    client.changes(object, None)
    if not isinstance(client.auth, OAuth):
        raise Skipped("signs in with something that does not end")
    client.auth._token = "ended"
    client.changes(object, None)
    _hold(client.auth._token != "ended", "the ended token was kept")


def reads_to_the_end_without_doubles_or_losses(trial: Trial) -> None:
    """Small pages and large ones show the same records, each once, and at least as many as there are."""
    trial.fill()
    for object in trial.connector.manifest.reads:
        large, _ = trial.sweep(trial.client(), object)
        small, _ = trial.sweep(trial.client(small=True), object)
        _hold(_versions(large) == _versions(small), f"{object}: small pages show other records than large ones")
        for records in (large, small) if not trial.case().get("reads", {}).get(object, {}).get("repeats") else ():
            _hold(len(_versions(records)) == len(records), f"{object}: a record came twice in one sweep")
        wanted = int(trial.case().get("reads", {}).get(object, {}).get("at_least", 1))
        _hold(len(_versions(large)) >= wanted, f"{object}: {len(large)} records, at least {wanted} were made")


def goes_on_from_a_cursor_after_a_restart(trial: Trial) -> None:
    """A new client with the cursor of the first page reads exactly the rest."""
    trial.fill()
    paged = False
    for object in trial.connector.manifest.reads:
        whole, _ = trial.sweep(trial.client(small=True), object)
        first = trial.client(small=True).changes(object, None)
        json.dumps(first.cursor)
        rest: list[Record] = []
        if first.more:
            paged = True
            rest, _ = trial.sweep(trial.client(small=True), object, first.cursor)
        _hold(
            _versions([*first.records, *rest]) == _versions(whole), f"{object}: first page and rest are not the whole"
        )
    _hold(paged, "no object has two pages; make `before` and `options` of cases/contract.json so that one has")


def shows_a_change_after_the_end(trial: Trial) -> None:
    """What a person changes after a sweep is in the next one, from the cursor where the sweep ended."""
    trial.fill()
    changes = {o: c for o, c in trial.case().get("reads", {}).items() if "change" in c}
    _hold(bool(changes), "cases/contract.json changes nothing")
    trial.run += 1
    client, names = trial.client(), {**trial.names, "run": trial.run}
    cursors = {object: trial.sweep(client, object)[1] for object in changes}
    for case in changes.values():
        trial.do([case["change"]], names)
    time.sleep(SECOND_AND_A_BIT)
    for object, case in changes.items():
        fresh, _ = trial.sweep(client, object, cursors[object])
        wanted = str(_put_in(case["id"], names))
        _hold(wanted in {record.external_id for record in fresh}, f"{object}: the change of {wanted} was not read")


def fetches_a_record_as_it_is(trial: Trial) -> None:
    """`get` and `fetch` show a record of the sweep whole, as JSON bytes, and nothing for one that is not there."""
    trial.fill()
    client = trial.client()
    for object in trial.connector.manifest.reads:
        records, _ = trial.sweep(client, object)
        if not records:
            raise Failed(f"{object}: nothing to fetch")
        wanted = next((record for record in records if not record.deleted), records[0])
        found = client.get(object, wanted.external_id)
        if found is None or found.external_id != wanted.external_id:
            raise Failed(f"{object}: {wanted.external_id} was in the sweep but cannot be fetched")
        _hold(isinstance(json.loads(found.raw), dict), f"{object}: the record's bytes are no JSON object")
        _hold(found.stamp >= wanted.stamp, f"{object}: fetched an older version than the sweep's")
        several = client.fetch(object, [wanted.external_id])
        _hold([record.external_id for record in several] == [wanted.external_id], f"{object}: fetch shows others")
        _hold(client.fetch(object, []) == [], f"{object}: fetch of nothing shows something")


# --- trouble ---------------------------------------------------------------------------------------------------------


def waits_when_asked_to(trial: Trial) -> None:
    """Too many requests is Busy, for reads and writes, with the time the vendor asks for; nothing was written."""
    trial.fill()
    wanted = _asked_for(trial.arena.simulator.throttled())
    client, object = trial.client(), _first_read(trial)
    client.read_tries = 1
    client.changes(object, None)
    trial.arena.fault("429")
    busy = _raised(trial, lambda: client.changes(object, None))
    _hold(isinstance(busy, Busy), f"a throttled read is {type(busy).__name__}, not Busy")
    if isinstance(busy, Busy) and wanted is not None:
        _hold(busy.retry_after == wanted, f"asked to wait {wanted} seconds, understood {busy.retry_after}")
    for sample in trial.writes() if trial.connector.manifest.writes else ():
        before = trial.rows(sample)
        trial.arena.fault("429", writes=True)
        busy = _raised(trial, partial(sample.send, client))
        _hold(isinstance(busy, Busy), f"{sample.object}: a throttled write is {type(busy).__name__}, not Busy")
        _hold(trial.rows(sample) == before, f"{sample.object}: a throttled write left something behind")


def names_a_server_error_by_what_may_have_happened(trial: Trial) -> None:
    """A read that fails is Busy; a write that fails is Unsettled, or Busy when the vendor says it is down."""
    trial.fill()
    client, object = trial.client(), _first_read(trial)
    client.read_tries = 1
    client.changes(object, None)
    for kind in ("5xx", "500"):
        trial.arena.fault(kind)
        trouble = _raised(trial, lambda: client.changes(object, None))
        _hold(isinstance(trouble, Busy), f"{kind} on a read is {type(trouble).__name__}, not Busy")
    if not trial.connector.manifest.writes:
        return
    for kind, right in (("5xx", (Busy, Unsettled)), ("500", (Unsettled,))):
        for sample in trial.writes():
            trial.arena.fault(kind, writes=True)
            trouble = _raised(trial, partial(sample.send, client))
            _hold(isinstance(trouble, right), f"{sample.object}: {kind} on a write is {type(trouble).__name__}")


def finds_what_it_sent(trial: Trial) -> None:
    """`find` shows nothing before, and the vendor's id after."""
    client = trial.client()
    for sample in trial.writes():
        if not sample.case.get("exists"):
            _hold(client.find(sample.object, sample.key) is None, f"{sample.object}: found before it was sent")
        receipt = sample.send(client)
        found = client.find(sample.object, sample.key)
        if found is None:
            raise Failed(f"{sample.object}: sent as {receipt.external_id}, but find does not see it")
        _hold(found.external_id == receipt.external_id, f"{sample.object}: find shows another record than send")


def shows_what_it_wrote(trial: Trial) -> None:
    """What was written stands as it was written, read back in the words of the write: older values can be told."""
    for sample in trial.writes():
        if trial.connector.manifest.writes[sample.object].read_back_minutes is None:
            continue
        client = trial.client()
        receipt = sample.send(client)
        body = dict(sample.case["body"])
        values = list(shown(body, client.standing(sample.object, receipt.external_id, body)))
        _hold(bool(values), f"{sample.object} is not read back: say read_back_minutes: null, or show it")
        wrong = [f"{path}: {ours} is shown as {theirs}" for path, ours, theirs in values if ours != theirs]
        _hold(not wrong, f"{sample.object}: {'; '.join(wrong)}")


def sends_twice_and_leaves_one(trial: Trial) -> None:
    """The same write again, with and without the vendor's id, is the same record."""
    client = trial.client()
    for sample in trial.writes():
        first = sample.send(client)
        after_one = trial.rows(sample)
        again = [sample.send(client), sample.send(client, first.external_id), sample.send(trial.client())]
        _hold({one.external_id for one in again} == {first.external_id}, f"{sample.object}: a second record")
        _hold(trial.rows(sample) == after_one, f"{sample.object}: {trial.rows(sample) - after_one} rows too many")


def survives_an_answer_that_is_lost(trial: Trial) -> None:
    """A write that is committed and never answered is Unsettled; looking, or sending again, ends with one record."""
    client = trial.client()
    client.changes(_first_read(trial), None)  # signed in: the fault is to meet the write
    for sample in trial.writes():
        before = trial.rows(sample)
        trial.arena.fault("unk")
        trouble = _raised(trial, partial(sample.send, client))
        _hold(isinstance(trouble, Unsettled), f"{sample.object}: silence is {type(trouble).__name__}, not Unsettled")
        landed = trial.rows(sample)
        if trial.connector.manifest.writes[sample.object].dedupe in ("B", "C") and not sample.external_id:
            # such a write is looked for before it is repeated
            found = client.find(sample.object, sample.key)
            if found is None and landed > before:
                raise Failed(f"{sample.object}: it landed, but find does not see it")
        receipt = sample.send(client)
        found = client.find(sample.object, sample.key)
        _hold(found is not None and found.external_id == receipt.external_id, f"{sample.object}: cannot be found")
        once = trial.rows(sample)
        sample.send(client)
        _hold(trial.rows(sample) == once, f"{sample.object}: the repetition made {trial.rows(sample) - once} more")
        _hold(once == max(landed, once), f"{sample.object}: rows went missing")
        if not sample.case.get("exists") and landed > before:
            _hold(once == landed, f"{sample.object}: the repetition made {once - landed} more")


def explains_every_refusal(trial: Trial) -> None:
    """What the vendor says no to is Refused, with a code that stands in the table of refusals."""
    client = trial.client()
    tried = 0
    for sample in trial.writes():
        for wrong in sample.case.get("refused", ()):
            tried += 1
            bad = Sample(sample.object, {**sample.case, "body": wrong["body"], "key": wrong.get("key", sample.key)})
            no = _raised(trial, partial(bad.send, client))
            if not isinstance(no, Refused):
                raise Failed(f"{sample.object}: {wrong['code']} expected, got {type(no).__name__}")
            _hold(no.code == wrong["code"], f"{sample.object}: {wrong['code']} expected, got {no.code} ({no})")
            _hold(no.code in trial.connector.manifest.refusals, f"{no.code} is not in the table of refusals")
    _hold(tried > 0, "no sample has a body that is refused")


# --- calls, secrets, meaning -----------------------------------------------------------------------------------------


def believes_only_fresh_and_signed_calls(trial: Trial) -> None:
    """A forged, altered, stale, early, replayed or unsigned call is refused; the vendor's own is understood."""
    scheme = trial.connector.manifest.webhook
    if scheme is None:
        raise Skipped("the vendor does not call us")
    secret, now, body = "a secret of the suite", 1_780_000_000, b'{"hello": 1}'

    def verdict(headers: Mapping[str, str], raw: bytes = body, at: float = now) -> str | None:
        return refuse(scheme, secret, {name.lower(): value for name, value in headers.items()}, raw, at)

    right = sign(scheme, secret, str(now), body)
    _hold(verdict(right) is None, f"a right call is refused: {verdict(right)}")
    _hold(verdict({}) is not None, "an unsigned call is believed")
    _hold(verdict(right, b'{"hello": 2}') is not None, "an altered body is believed")
    _hold(verdict(sign(scheme, "guess", str(now), body)) is not None, "a forged signature is believed")
    _hold(refuse(scheme, "", right, body, now) is not None, "a call is believed although no secret is set")
    if scheme.timestamp_header:
        late = now + scheme.tolerance_seconds + 1
        _hold(verdict(right, at=late) is not None, "a call replayed later is believed")
        _hold(verdict(right, at=now - scheme.tolerance_seconds - 1) is not None, "a call from the future is believed")
        moved = {**right, scheme.timestamp_header: str(late)}
        _hold(verdict(moved, at=late) is not None, "an old call with a new time is believed")
    trial.fill()
    _vendors_own_calls_are_understood(trial)


def _vendors_own_calls_are_understood(trial: Trial) -> None:
    scheme, simulator = trial.connector.manifest.webhook, trial.arena.simulator
    for case in trial.case().get("reads", {}).values():
        if "change" in case:
            trial.run += 1
            trial.do([case["change"]], {**trial.names, "run": trial.run})
    calls = [call for _, call in simulator.outgoing()]
    _hold(bool(calls), "the simulator does not call when a person changes something")
    for call in calls:
        headers = {name.lower(): value for name, value in call.headers.items()}
        why = refuse(scheme, trial.arena.connection.webhook_secret, headers, call.body, time.time()) if scheme else ""
        _hold(why is None, f"the vendor's own call is refused: {why}")
    notices = [notice for call in calls for notice in trial.connector.client.notices(json.loads(call.body))]
    _hold(bool(notices), "no call names a record")
    strange: list[dict[str, Any]] = [{}, {"unexpected": []}, {"payload": 1}]
    for body in strange:
        try:
            trial.connector.client.notices(body)
        except Trouble:
            pass
        except Exception as broken:
            raise Failed(f"a call with the body {body} breaks the reader: {broken!r}") from broken


def never_shows_a_secret(trial: Trial) -> None:
    """No secret in a representation, nor in any error on the way of a wrong sign-in."""
    connection = trial.arena.connection
    secrets = [value for value in [*connection.credentials.values(), connection.webhook_secret] if len(value) >= 16]
    wrong = {
        name: f"not-{name}-4711"
        for name in ("client_secret", "refresh_token", "api_key", "access_token", "client_id")
        if name in connection.credentials
    }
    client = trial.client(credentials=wrong)
    trouble = _raised(trial, lambda: client.changes(_first_read(trial), None))
    if not isinstance(trouble, Refused):
        raise Failed(f"a wrong sign-in is {type(trouble).__name__}, not Refused")
    told = "".join(traceback.format_exception(trouble)) + repr(connection) + repr(client) + repr(client.auth)
    said = sorted({name for name, value in wrong.items() if value in told})
    _hold(not said, f"an error shows {', '.join(said)}")
    _hold(not any(secret in told for secret in secrets), "an error shows a secret")
    known = trouble.code in trial.connector.manifest.refusals
    _hold(known, f"the code {trouble.code} of a wrong sign-in is not in the table of refusals")


def ignores_fields_it_does_not_know(trial: Trial) -> None:
    """A new field in a record changes nothing of what it means."""
    if trial.judge is None:
        raise Skipped("no mapping room at hand")
    trial.fill()
    client = trial.client()
    for text in trial.connector.mappings.values():
        head = _HEAD.search(text)
        if head is None or not head[1]:
            continue
        for record in trial.sweep(client, head[2])[0][:5]:
            if record.deleted:
                continue
            plain = json.loads(record.raw)
            more = _with_more(plain)
            meant = trial.judge.meaning(text, trial.connector.verbs, plain)
            _hold(meant == trial.judge.meaning(text, trial.connector.verbs, more), f"{head[2]}: a new field disturbs")


Check = Callable[[Trial], None]
CHECKS: tuple[Check, ...] = (
    has_a_manifest_that_says_where_from,
    keeps_the_rules_of_its_tier,
    maps_what_it_reads_and_writes,
    keeps_its_mapping_examples,
    signs_in_again_when_a_token_ends,
    reads_to_the_end_without_doubles_or_losses,
    goes_on_from_a_cursor_after_a_restart,
    shows_a_change_after_the_end,
    fetches_a_record_as_it_is,
    waits_when_asked_to,
    names_a_server_error_by_what_may_have_happened,
    finds_what_it_sent,
    shows_what_it_wrote,
    sends_twice_and_leaves_one,
    survives_an_answer_that_is_lost,
    explains_every_refusal,
    believes_only_fresh_and_signed_calls,
    never_shows_a_secret,
    ignores_fields_it_does_not_know,
)


def try_one(check: Check, trial: Trial) -> Outcome:
    """Run one check and say how it ended; a fault of the connector is a failure with its last line."""
    name = check.__name__
    try:
        check(trial)
    except Skipped as why:
        return Outcome(name, "skipped", str(why))
    except Failed as why:
        return Outcome(name, "failed", str(why))
    except Exception as fault:
        place = traceback.extract_tb(fault.__traceback__)[-1]
        return Outcome(name, "failed", f"{type(fault).__name__}: {fault} ({place.filename}:{place.lineno})")
    finally:
        trial.arena.relent()
        trial.close()
    return Outcome(name, "passed")


def try_all(connector: Connector, arena: Arena, judge: Judge | None = None) -> list[Outcome]:
    """Run the whole suite against a running simulator that nothing else uses."""
    trial = Trial(connector, arena, judge)
    return [try_one(check, trial) for check in CHECKS]


# --- inside ----------------------------------------------------------------------------------------------------------


def _hold(right: bool, sentence: str) -> None:
    if not right:
        raise Failed(sentence)


def _first_read(trial: Trial) -> str:
    if not trial.connector.manifest.reads:
        raise Skipped("reads nothing")
    return min(trial.connector.manifest.reads.items(), key=lambda item: (item[1].order, item[0]))[0]


def _versions(records: Sequence[Record]) -> list[tuple[str, str]]:
    return sorted({(record.external_id, record.stamp) for record in records})


def _raised(trial: Trial, act: Callable[[], Any]) -> Exception:
    """Return the trouble an act ends in."""
    try:
        act()
    except Trouble as trouble:
        return trouble
    finally:
        trial.arena.relent()
    raise Failed("the call went through although it should have met trouble")


def _asked_for(response: Response) -> float | None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return retry_after(Answer(response.status, headers, b""))


def _put_in(value: Any, names: Mapping[str, Any]) -> Any:
    """Replace `{name.path}` in texts; a text that is nothing else becomes the value itself."""
    if isinstance(value, Mapping):
        return {key: _put_in(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_in(item, names) for item in value]
    if not isinstance(value, str):
        return value

    def look_up(path: str) -> Any:
        found: Any = names
        for step in path.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
        return found

    whole = _PLACE.fullmatch(value)
    if whole and whole[1] not in ("n", "run"):
        return look_up(whole[1])
    return _PLACE.sub(lambda place: str(look_up(place[1])), value)


def _with_more(value: Any) -> Any:
    """Return a record with an unknown field in every object."""
    if isinstance(value, dict):
        return {**{key: _with_more(item) for key, item in value.items()}, "field_of_tomorrow": {"a": [1, None]}}
    return [_with_more(item) for item in value] if isinstance(value, list) else value
