"""An invoice again from raw inputs: an empty database, the bytes as they came, the rules as they were, act by act.

Nothing here asks what day it is or which rules are installed: everything comes from the bundle. No system is called.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from trueup import engine
from trueup.connectors.sdk import registry
from trueup.connectors.sdk.client import VendorClient
from trueup.connectors.sdk.wire import Connection
from trueup.governance import ownership
from trueup.kernel.errors import Broken, Trouble
from trueup.kernel.strict_json import read
from trueup.mapping.file import MappingFile
from trueup.mapping.file import load as load_mapping
from trueup.pipeline import edition
from trueup.pipeline.deliver import Known, learn
from trueup.pipeline.house import House, System
from trueup.pipeline.ingest import author, ingest_batch
from trueup.processes import (
    adjustments,
    brakes,
    corrections,
    milestone_billing,
    opportunity_to_project,
    rerating,
    schedule_billing,
    time_to_billing,
)
from trueup.processes.reactions import REACTIONS
from trueup.reporting import evidence_export
from trueup.reporting.evidence_export import FORMAT, JOURNAL, MANIFEST, MESSAGES, RULES, Parts, raw_name, whole
from trueup.reporting.explain import explain, find_invoice
from trueup.store import acts, crosswalk, cursors, embedded, holds, inbox, ledger, migrate, periods
from trueup.store.crosswalk import Link
from trueup.store.database import Database, Tx
from trueup.store.inbox import Message

Tell = Callable[[str], None]
FindConnector = Callable[[str], registry.Connector]
FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def _propose(house: House, kind: adjustments.Kind, gids: Sequence[str], more: Mapping[str, Any]) -> None:
    values = {name: None if more[name] is None else Decimal(more[name]) for name in ("amount", "limit")}
    until = None if more["until"] is None else date.fromisoformat(more["until"])
    adjustments.propose(house, kind, gids, **{**more, **values, "until": until})


def _rerate(house: House, since: str, contract: str | None, policy: rerating.Policy, more: Mapping[str, Any]) -> None:
    rerating.propose(house, date.fromisoformat(since), contract, policy, **more)


def _booked(house: House, period: str, entity: str) -> None:
    """Let a month's books be closed: their figures are none of an invoice's."""
    with house.database.transaction() as tx:
        run = f"{period}/{entity}/month_end"
        if ledger.begin_run(tx, run, "month_end", entity, period):
            ledger.end_run(tx, run, {})


def _close(house: House, period: str, entity: str) -> None:
    with house.database.transaction() as tx:
        begun = periods.begin(tx, entity, period, BY)
        periods.freeze(tx, entity, period, begun["revision"], {}, hashlib.sha256(b"{}").hexdigest(), BY)


def _reopen(house: House, period: str, entity: str) -> None:
    with house.database.transaction() as tx:
        periods.approve(tx, periods.propose(tx, entity, period, BY, "as it was done"), f"{BY}, the second person")


BY = "rebuild"
ACTS: Mapping[str, Callable[..., Any]] = {
    "opportunity_to_project": opportunity_to_project.set_up,
    "milestone_billing": milestone_billing.bill,
    "billing_run": time_to_billing.bill,
    "billing_end": time_to_billing.conclude,
    "schedule_billing": schedule_billing.bill,
    "braked_invoice": brakes.make,
    "credit": lambda house, gid, more: corrections.give(house, gid, **more),
    "adjustment_proposed": _propose,
    "adjustment_approved": lambda house, number, more: adjustments.approve(house, number, **more),
    "adjustment_rejected": lambda house, number, more: adjustments.reject(house, number, **more),
    "adjustment_undone": lambda house, number, more: adjustments.undo(house, number, **more),
    "rerating": _rerate,
    "month_end": _booked,
    "month_closed": _close,
    "month_reopened": _reopen,
}
"""Kind of act -> what does it again, called with the house and the recorded arguments."""


class _Silent(VendorClient):
    """A system that is never called: what is written for it stays written."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that holds together: every raw message has the digest it had when it came in."""

    parts: Parts
    manifest: dict[str, Any]
    messages: dict[int, dict[str, Any]]
    journal: list[dict[str, Any]]
    rules: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that came out otherwise.

    line   key of the invoice line, or empty for the document itself
    """

    line: str
    field: str
    exported: Any
    rebuilt: Any


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of one document.

    chains  for every charge: raw message, canonical version, approval, rate row, rule, rounding
    """

    gid: str
    code: str
    equal: bool
    sha256: str
    exported_sha256: str
    differences: tuple[Difference, ...]
    chains: tuple[dict[str, Any], ...] = field(default=())


# --- the bundle as a file ---------------------------------------------------------------------------------------------


def tzdata() -> str:
    """Return the version of the time-zone database that is installed, for the record: nothing here reads it."""
    try:
        return metadata.version("tzdata")
    except metadata.PackageNotFoundError:
        listed = Path("/usr/share/zoneinfo/tzdata.zi")
        first = listed.read_text("utf-8").partition("\n")[0] if listed.is_file() else ""
        return first.removeprefix("# version ") or "none"


def export(tx: Tx, gids: Sequence[str]) -> Parts:
    """Return the bundle of some documents, read in one snapshot."""
    return evidence_export.bundle(tx, gids, tzdata())


def file_of(house: House, identifier: str) -> tuple[str, bytes] | None:
    """Return one document's bundle as a file, name and bytes; None when there is no such invoice.

    Raises    Broken when it was billed before acts were written down.
    """
    with house.database.transaction() as tx:
        tx.run("set transaction isolation level repeatable read read only")
        gid = find_invoice(tx, identifier)
        return None if gid is None else (f"{gid}.evidence.zip", zipped(export(tx, [gid])))


def zipped(parts: Parts) -> bytes:
    """Return the parts as a zip; stored, sorted, without times, so that the same parts are the same bytes anywhere."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(parts):
            place = zipfile.ZipInfo(name, FIXED_TIME)
            place.create_system, place.external_attr = 3, 0o644 << 16
            archive.writestr(place, parts[name])
    return out.getvalue()


def save(parts: Parts, place: Path) -> None:
    """Write a bundle: a zip when the name ends so, else a folder.

    Raises    Broken when the folder holds something already.
    """
    if place.suffix == ".zip":
        place.write_bytes(zipped(parts))
        return
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise Broken(f"{place.name} is there already; name an empty folder or a file that ends in .zip")
    for name, content in parts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def load(place: Path) -> Bundle:
    """Read a bundle and check it.

    Raises    Broken with what is wrong: a message or text that was changed or is missing, by name.
    """
    if place.is_dir():
        return check({one.relative_to(place).as_posix(): one.read_bytes() for one in place.rglob("*") if one.is_file()})
    if not place.is_file():
        raise Broken(f"there is no bundle {place.name}")
    return check(unzipped(place.read_bytes()))


def unzipped(content: bytes) -> Parts:
    """Return the parts of a zip; one whose own checksum fails is given as it can be read, for `check` to name it."""
    parts: Parts = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for place in archive.infolist():
                if place.compress_type != zipfile.ZIP_STORED:
                    raise Broken(f"the bundle holds {place.filename} compressed: it was not made by `trueup evidence`")
                try:
                    parts[place.filename] = archive.read(place)
                except zipfile.BadZipFile:
                    parts[place.filename] = b""  # no digest of ours fits it
    except (zipfile.BadZipFile, OSError, ValueError) as wrong:
        raise Broken(f"the bundle is no readable zip: {wrong}") from wrong
    return parts


# --- does it hold together --------------------------------------------------------------------------------------------


def check(parts: Parts) -> Bundle:
    """Compare every raw message with the digest taken when it came in, then every other part with the manifest.

    Raises    Broken naming the message (number, system, object, identifier) or the part.
    """
    manifest = _json(parts, MANIFEST)
    if manifest.get("format") != FORMAT:
        raise Broken(f"the bundle's format is {manifest.get('format')!r}; this version reads {FORMAT}")
    kept = {row["number"]: row for row in _json(parts, MESSAGES)}
    for listed in manifest["messages"]:
        _check_message(listed, kept.get(listed["number"]), parts.get(raw_name(listed["number"])))
    unlisted = sorted(set(kept) - {listed["number"] for listed in manifest["messages"]})
    if unlisted:
        raise Broken(f"{_named(kept[unlisted[0]])} is not in the manifest: somebody took it out")
    rules = _json(parts, RULES)
    for digest, text in sorted(rules["texts"].items()):
        content = parts.get(f"texts/{digest}.txt")
        said = f"{text['name']} version {text['version']}"
        if content is None:
            raise Broken(f"the text of {said} is missing")
        if hashlib.sha256(content).hexdigest() != digest:
            raise Broken(
                f"the text of {said} was changed: it does not have the digest {digest[:12]}… it was used under"
            )
    _check_parts(parts, manifest)
    journal = _json(parts, JOURNAL)
    for step in journal:
        for one in step.get("messages", ()):
            if one["number"] not in kept:
                raise Broken(f"message {one['number']} is missing: the journal names it, the bundle does not hold it")
    return Bundle(parts, manifest, kept, journal, rules)


def _check_message(listed: Mapping[str, Any], kept: Mapping[str, Any] | None, content: bytes | None) -> None:
    if kept is None:
        raise Broken(f"{_named(listed)} has no record of its receipt in {MESSAGES}")
    if content is None:
        raise Broken(f"{_named(kept)} is missing")
    found = hashlib.sha256(content).hexdigest()
    for where, digest in (("the ledger recorded at receipt", kept["digest"]), ("the manifest says", listed["sha256"])):
        if found != digest:
            raise Broken(f"{_named(kept)} was changed: its bytes have {found[:16]}…, {where} {str(digest)[:16]}…")


def _check_parts(parts: Parts, manifest: Mapping[str, Any]) -> None:
    listed = manifest["parts"]
    for name in sorted({*parts, *listed} - {MANIFEST}):
        if name not in listed:
            raise Broken(f"the bundle holds {name}, which the manifest does not list")
        if name not in parts:
            raise Broken(f"the part {name} is missing")
        if hashlib.sha256(parts[name]).hexdigest() != listed[name]["sha256"]:
            raise Broken(f"the part {name} was changed: it does not have the digest the manifest says")
    if whole(listed) != manifest["whole"]:
        raise Broken("the manifest was changed: its parts do not have the digest of the whole")


def _json(parts: Parts, name: str) -> Any:
    if name not in parts:
        raise Broken(f"the bundle has no {name}")
    try:
        return json.loads(parts[name])
    except ValueError as wrong:
        raise Broken(f"{name} cannot be read: {wrong}") from wrong


def _named(row: Mapping[str, Any]) -> str:
    return f"message {row['number']} ({row['system']} {row['object']} {row['external_id']})"


# --- doing it again ---------------------------------------------------------------------------------------------------


@contextmanager
def empty_database(url: str | None, tell: Tell) -> Iterator[Database]:
    """Give an empty database: a private one that is destroyed afterwards, or the one at an address.

    Raises    Broken when the database at the address holds messages already.
    """
    if url is not None:
        with _opened(url) as database:
            yield database
        return
    with tempfile.TemporaryDirectory(prefix="trueup-rebuild-") as folder:
        try:
            with _opened(embedded.start(Path(folder), tell)) as database:
                yield database
        finally:
            embedded.destroy(Path(folder))


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    migrate.migrate(url)
    database = Database(url, name="trueup-rebuild", size=4).open()
    try:
        engine.Engine(database).prepare()
        with database.transaction() as tx:
            if tx.value("select exists (select from inbox) or exists (select from objects)"):
                raise Broken("the database is not empty; a rebuild begins with nothing")
        yield database
    finally:
        database.close()


def rebuild(
    bundle: Bundle, database: Database, wanted: Sequence[str] = (), find: FindConnector = registry.load
) -> list[Rebuilt]:
    """Do everything in the bundle again and compare the documents, byte for byte.

    database  empty, migrated
    wanted    codes, numbers or identifiers; none means every document of the bundle
    find      gives a connector by its name; only its facts and pure verbs are used
    Raises    Broken when a document is not in the bundle, or what was done cannot be done again
    """
    chosen = [_chosen(bundle, name) for name in wanted] or list(bundle.manifest["documents"])
    again = _Again(bundle, database, find)
    try:
        for step in bundle.journal:
            again.take(step)
        again.nobody_waits()
    finally:
        for system in again.house.systems.values():
            system.client.close()
    with database.transaction() as tx:
        return [_compared(tx, bundle, one) for one in chosen]


def _chosen(bundle: Bundle, name: str) -> dict[str, Any]:
    for one in bundle.manifest["documents"]:
        if name in (one["gid"], one["code"], one["number"]):
            return dict(one)
    held = ", ".join(one["code"] for one in bundle.manifest["documents"])
    raise Broken(f"the bundle does not hold {name}; it holds {held}")


class _Again:
    """A house that takes the steps of a journal, each by the rules that were in force."""

    def __init__(self, bundle: Bundle, database: Database, find: FindConnector) -> None:
        self.bundle = bundle
        self._mappings: dict[str, MappingFile] = {}
        self._texts = {digest: bundle.parts[f"texts/{digest}.txt"].decode() for digest in bundle.rules["texts"]}
        self._editions = {row["number"]: row for row in bundle.rules["editions"]}
        self._heard: dict[int, str] = {}
        self._rules: int | None = None
        systems = {}
        for row in bundle.rules["systems"]:
            connector = find(row["connector"])
            client = _Silent(connector.manifest, Connection(row["system"], "https://nowhere.invalid"))
            systems[row["system"]] = System(row["system"], row["role"], connector, client)
        outward: dict[tuple[str, str, str], MappingFile] = {}
        self._verbs = {system.connector.name: system.connector.verbs for system in systems.values()}
        self.house = House(
            database,
            systems,
            {},
            outward,
            ownership.Ownership(0, {}),
            edition.read_firm(self._texts[next(iter(self._editions.values()))["firm"]]),
            list(REACTIONS),
        )
        for digest in bundle.rules["outward"]:
            mapping = self._mapping(digest)
            for system in systems.values():
                if system.connector.name == mapping.system:
                    outward[(mapping.kind, system.name, mapping.object)] = mapping
        with database.transaction() as tx:
            for system in systems.values():
                cursors.register(tx, system.name, system.connector.name, system.role)

    def _mapping(self, digest: str) -> MappingFile:
        if digest not in self._mappings:
            if digest not in self._texts:
                raise Broken(f"the journal names a mapping {digest[:12]}… that the bundle does not hold")
            sides = self.bundle.rules["texts"][digest]["name"].split(" -> ")
            vendor = next(side.partition(".")[0] for side in sides if "." in side)
            self._mappings[digest] = load_mapping(self._texts[digest], self._verbs.get(vendor))
        return self._mappings[digest]

    def take(self, step: Mapping[str, Any]) -> None:
        """Take one step."""
        self._by_the_rules_of(step["edition"])
        does = step["does"]
        if does == "act":
            self.nobody_waits()
            self._act(step)
            return
        with self.house.database.transaction() as tx:
            if does == "hear":
                self._hear(tx, step["messages"])
            elif does == "know":
                learn(tx, self.house, step["system"], [Known(**step["delivery"])])
            elif does == "decide":
                self._decide(tx, step["items"])
            elif does == "release":
                open_now = [h for h in holds.open_of(tx, scopes=[step["scope"]]) if h["code"] == step["code"]]
                if not open_now:
                    raise Broken(
                        f"{step['by']} ended the hold {step['code']} on {step['scope']}; done again, it is not held"
                    )
                holds.release(tx, [h["number"] for h in open_now], step["by"], step["reason"])
            else:
                raise Broken(f"this version does not know the step {does!r}")
        self._go_on()

    def _act(self, step: Mapping[str, Any]) -> None:
        """Do an act again.

        Raises    Broken naming it, when this version does not know it or cannot do it.
        """
        kind, arguments = step["kind"], step["arguments"]
        act = ACTS.get(kind)
        if act is None:
            raise Broken(f"this version cannot do the act {kind} {_short(arguments)} again: it does not know it")
        if step["numbers"]:
            with self.house.database.transaction() as tx:
                acts.number_adjustments(tx, step["numbers"][0])
        try:
            act(self.house, *arguments)
        except (Trouble, TypeError, LookupError) as cannot:
            raise Broken(f"the act {kind} {_short(arguments)} cannot be done again: {cannot}") from cannot

    def _by_the_rules_of(self, number: int | None) -> None:
        if number is None or number == self._rules:
            return
        rules = self._editions.get(number)
        if rules is None:
            raise Broken(f"the journal names the rules {number}, which the bundle does not hold")
        self.house.ownership = ownership.load(self._texts[rules["ownership"]])
        self.house.firm = edition.read_firm(self._texts[rules["firm"]])
        with self.house.database.transaction() as tx:
            edition.keep(tx, self.house, self._texts[rules["ownership"]])
        self._rules = number

    def _hear(self, tx: Tx, listed: Sequence[Mapping[str, Any]]) -> None:
        fresh = [self.bundle.messages[one["number"]] for one in listed if one["number"] not in self._heard]
        inbox.restore(
            tx,
            [
                {**row, "digest": bytes.fromhex(row["digest"]), "body": self.bundle.parts[raw_name(row["number"])]}
                for row in fresh
            ],
        )
        again = [one["number"] for one in listed if one["number"] in self._heard]
        inbox.reopen(tx, again)
        for one in listed:
            self._heard[one["number"]] = one["mapping"]
        self._judge(tx, [one["number"] for one in listed])

    def _judge(self, tx: Tx, numbers: Sequence[int]) -> None:
        """Take messages in, each by the mapping it was judged by."""
        rows = tx.rows(
            """
            select number, system, object, external_id, stamp, body, deleted, attempts from inbox
            where number = any(%s) order by number
            """,
            (list(numbers),),
        )
        messages = [Message(**{**row, "body": bytes(row["body"])}) for row in rows]
        self.house.inward = {
            (message.system, message.object): self._mapping(self._heard[message.number]) for message in messages
        }
        ingest_batch(tx, self.house, messages)

    def _go_on(self) -> None:
        """Take in what has been woken: it waited for something that is known by now."""
        while True:
            with self.house.database.transaction() as tx:
                rows = tx.rows("select number from inbox where state = 'pending' order by number limit 1000")
                if not rows:
                    return
                self._judge(tx, [row["number"] for row in rows])

    def _decide(self, tx: Tx, items: Sequence[Mapping[str, Any]]) -> None:
        for item in items:
            links = [Link(link["system"], link["object"], link["external_id"], item["gid"]) for link in item["links"]]
            author(
                tx, self.house, [(item["kind"], item["gid"], dict(item["values"]))], role=item["role"],
                actor=item["actor"],
            )  # fmt: skip
            crosswalk.put(tx, links)
            inbox.wake(tx, [f"{link.system}/{link.object}/{link.external_id}" for link in links])

    def nobody_waits(self) -> None:
        """Make sure that every message was used, as it was when it came in.

        Raises    Broken naming the first that could not be, and why.
        """
        with self.house.database.transaction() as tx:
            row = tx.row(
                """
                select number, system, object, external_id, reason from inbox
                where state not in ('applied', 'superseded') order by number limit 1
                """
            )
        if row is not None:
            raise Broken(f"{_named(row)} cannot be used again: {row['reason']}")


def _short(arguments: Sequence[Any]) -> str:
    """Return what an act is called with, as far as a sentence has room for it."""
    return ", ".join(str(one) for one in arguments)[:120]


# --- the same? --------------------------------------------------------------------------------------------------------


def _compared(tx: Tx, bundle: Bundle, chosen: Mapping[str, Any]) -> Rebuilt:
    gid, code = chosen["gid"], chosen["code"]
    exported = bundle.parts[f"documents/{gid}.json"]
    digest = hashlib.sha256(exported).hexdigest()
    found = explain(tx, gid, cost=False)
    if found is None:
        return Rebuilt(gid, code, False, "", digest, (Difference("", "document", code, None),))
    again = evidence_export.document_of(tx, gid)
    differences = [] if again == exported else list(_differences(read(exported), read(again)))
    chains = tuple(_chain(line.key, charge) for line in found.lines for charge in line.charges)
    return Rebuilt(gid, code, again == exported, hashlib.sha256(again).hexdigest(), digest, tuple(differences), chains)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield what differs: first the lines, then the document, then the charges."""
    before, after = old["document"], new["document"]
    yield from _rows("", before["lines"], after["lines"], lambda line: str(line["key"]))
    for name in sorted({*before, *after} - {"lines"}):
        if before.get(name) != after.get(name):
            yield Difference("", name, before.get(name), after.get(name))
    yield from _rows("charge ", old["charges"], new["charges"], lambda row: f"{row['line_key']} {row['charge']}")


def _rows(what: str, old: Sequence[Any], new: Sequence[Any], key: Callable[[Any], str]) -> Iterator[Difference]:
    before, after = {key(row): row for row in old}, {key(row): row for row in new}
    for name in [*before, *(one for one in after if one not in before)]:
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield Difference(f"{what}{name}", "line", one, other)
            continue
        for part in sorted({*one, *other}):
            if one.get(part) != other.get(part):
                yield Difference(f"{what}{name}", part, one.get(part), other.get(part))
    if list(before) != list(after) and set(before) == set(after):
        yield Difference(what.strip(), "order", list(before), list(after))


def _chain(line: str, charge: Any) -> dict[str, Any]:
    """Return one charge's way from the bytes to the amount."""
    raw, approval, rate = charge.raw, charge.approval, charge.rate_line
    return {
        "line": line,
        "charge": charge.key,
        "amount": charge.amount,
        "currency": charge.currency,
        "message": None
        if raw is None
        else {"number": raw.number, "system": raw.system, "object": raw.object, "external_id": raw.external_id,
              "sha256": raw.sha256},
        "canonical": {"gid": charge.fact, "version": max((one.version for one in charge.decisions), default=None)},
        "approval": None
        if approval is None
        else {"sentence": approval.sentence, "mapping": approval.mapping, "mapping_version": approval.mapping_version},
        "rate_line": None if rate is None else {"gid": rate.gid, "role": rate.role, "rate": rate.rate,
                                                "valid_from": rate.valid_from},
        "rule": charge.rule,
        "rounding": charge.rounding,
    }  # fmt: skip
