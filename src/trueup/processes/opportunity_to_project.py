"""Opportunity to project: a won deal becomes a customer, a contract and projects in every system.

Starts on   opportunity.won
Held by     a deal that fails validation; it starts again when the contract or its customer changes
Ends with   project.created, or contract.amended for a change order; status and codes back in the CRM
Undo        none needed: every command is an upsert under the deal's own key
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trueup import engine
from trueup.billing.holds import REASONS
from trueup.billing.validation import Deal, DealHold, DealLine, SellingEntity, check_deal
from trueup.kernel.ids import derive
from trueup.kernel.money import to_units
from trueup.pipeline.house import Firm, House
from trueup.pipeline.ingest import author
from trueup.processes.commands import commands, keys
from trueup.processes.facts import lines_with_orders
from trueup.processes.write_back import write_back
from trueup.store import acts, changes, deliveries, holds, objects
from trueup.store.changes import Event
from trueup.store.database import Tx
from trueup.store.deliveries import Command
from trueup.store.holds import Hold
from trueup.store.objects import Held

ACTOR = "opportunity_to_project"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """One project shell: a contract in one legal entity.

    phases  task names, in order
    """

    gid: str
    values: dict[str, Any]
    customer: str
    phases: tuple[tuple[str, str], ...]


def plan(contract: Held, firm: Firm) -> list[ProjectPlan]:
    """Decide which projects a contract gets: one for each legal entity that delivers, named by deal and entity."""
    body = contract.body
    entities = list(dict.fromkeys(line["legal_entity"] for line in body["lines"]))
    plans = []
    for entity in entities:
        lines = [line for line in body["lines"] if line["legal_entity"] == entity]
        main = next((line for line in lines if line["billing_method"] != "pass_through"), lines[0])
        package = firm.packages[main["package"]]
        code = f"{body['code']}-{entity}"
        gid = derive("project", code)
        several = len(entities) > 1
        values = {
            "code": code,
            "name": f"{body['name']} ({firm.entities[entity].name})" if several else body["name"],
            "contract": contract.gid,
            "customer": main["bill_to"] or body["customer"],
            "legal_entity": entity,
            "currency": main["currency"],
            "budget": str(sum((Decimal(line["amount"]) for line in lines), Decimal(0))),
            "starts_on": body["starts_on"],
            "ends_on": body["ends_on"],
            "practice": package.practice,
            "department": package.department,
            "status": "requested",
        }
        phases = tuple((derive("task", code, phase), phase) for phase in firm.phases_of(main["package"]))
        plans.append(ProjectPlan(gid, values, str(values["customer"]), phases))
    return plans


def check(contract: Held, customers: Mapping[str, Held], firm: Firm) -> list[DealHold]:
    """Validate a deal before anything is written: sold package, legal entity, tax nexus, currency."""
    body = contract.body
    lines = tuple(
        DealLine(
            line["key"],
            line["package"],
            line["billing_method"],
            line["legal_entity"],
            line["currency"],
            _country(customers.get(line["bill_to"] or body["customer"])),
        )
        for line in body["lines"]
    )
    deal = Deal(body["code"], Decimal(body["value"]), body["currency"], lines)
    book = {code: package.billing_methods for code, package in firm.packages.items()}
    entities = {code: SellingEntity(entity.currency, entity.sells_to) for code, entity in firm.entities.items()}
    return check_deal(deal, book, entities)


def _country(customer: Held | None) -> str | None:
    return None if customer is None else customer.body["country"]


@engine.process
def opportunity_to_project(work: engine.Work, contract: str) -> str:
    """Set the deal up in one remembered step; the ledger carries it to the systems."""
    return str(work.step(set_up, contract, work.key))


@acts.looks_again
def set_up(house: House, gid: str, process: str) -> str:
    """Validate, then make projects, tasks and commands in one transaction; returns what became of the deal."""
    with house.database.transaction() as tx:
        acts.begin(tx, ACTOR, (gid, process), house.edition, about=[gid])
        contract = objects.load(tx, [gid], lock=True)[gid]
        if contract.status not in ("signed", "active"):
            return f"nothing to do: the contract is {contract.status}"
        wanted = [contract.body["customer"], *(line["bill_to"] for line in contract.body["lines"] if line["bill_to"])]
        customers = objects.load(tx, wanted)
        wrong = check(contract, customers, house.firm)
        _hold(tx, house, contract, wrong)
        if wrong:
            ask_write_back(tx, house, contract, "On hold", wrong[0].sentence)
            return f"held: {', '.join(hold.code for hold in wrong)}"
        if contract.body["contract_type"] == "change_order":
            return _amend(tx, house, contract, process)
        _create(tx, house, contract, process)
        return "set up"


def _hold(tx: Tx, house: House, contract: Held, wrong: Sequence[DealHold]) -> None:
    """Open the holds that are wrong now, end those that are not any more."""
    amount = to_units(Decimal(contract.body["value"]), contract.body["currency"])
    placed = holds.place(
        tx,
        [
            Hold(
                hold.code,
                contract.gid,
                "contract",
                house.firm.owners.get(hold.code, REASONS[hold.code].owner),
                hold.sentence,
                REASONS[hold.code].released_by,
                amount,
                contract.body["currency"],
                contract=contract.gid,
                legal_entity=hold_entity(contract.body),
            )
            for hold in wrong
        ],
    )
    codes = {hold.code for hold in wrong}
    over = [h["number"] for h in holds.open_of(tx, scopes=[contract.gid]) if h["code"] not in codes]
    holds.release(tx, over, ACTOR, "the deal passes this check now")
    told = [
        Event(
            f"hold.placed/{h['number']}",
            "hold.placed",
            contract.gid,
            "contract",
            {"code": h["code"], "reason": h["reason"]},
        )
        for h in placed
    ]
    changes.tell(tx, told)


def hold_entity(body: Body) -> str | None:
    """Return the legal entity a whole contract belongs to, or None when there are several."""
    entities = {line["legal_entity"] for line in body["lines"]}
    return entities.pop() if len(entities) == 1 else None


def _create(tx: Tx, house: House, contract: Held, process: str) -> None:
    plans = plan(contract, house.firm)
    milestones = objects.of_kind(tx, "milestone", {"contract": contract.gid})
    by_line = {line["key"]: line["legal_entity"] for line in contract.body["lines"]}
    author(
        tx,
        house,
        [
            *(("project", item.gid, item.values) for item in plans),
            *(
                ("task", task, {"project": item.gid, "name": name, "task_type": "phase", "status": "planned"})
                for item in plans
                for task, name in item.phases
            ),
            *([("contract", contract.gid, {"status": "active"})] if contract.status == "signed" else []),
        ],
        actor=ACTOR,
    )
    by_entity = {item.values["legal_entity"]: item for item in plans}
    for milestone in milestones:
        home = by_entity.get(by_line.get(milestone.body["line_key"], ""))
        if home is not None:
            place_milestone(tx, house, milestone, home.gid)
    for item in plans:
        ask_for_project(tx, house, item.gid, [item.customer], process)
    buyer = commands(house, "erp", "customer", contract.body["customer"], "create", process=process, priority=20)
    order = commands(
        house, "erp", "contract", contract.gid, "create", depends_on=keys(buyer), process=process, priority=35
    )
    deliveries.ask(tx, [*buyer, *order])
    ask_write_back(tx, house, contract, "Active", "")


def place_milestone(tx: Tx, house: House, milestone: Held, project: str) -> None:
    """Give a milestone its project and the task that delivery ticks off."""
    task = derive("task", "milestone", milestone.body["code"])
    author(
        tx,
        house,
        [
            ("milestone", milestone.gid, {"project": project}),
            (
                "task",
                task,
                {
                    "project": project,
                    "name": f"{milestone.body['code']} {milestone.body['name']}",
                    "task_type": "milestone",
                    "starts_on": milestone.body["planned_on"],
                    "ends_on": milestone.body["planned_on"],
                    "milestone": milestone.gid,
                    "status": "planned",
                },
            ),
        ],
        actor=ACTOR,
    )
    ask_for_task(tx, house, task, project)


def ask_for_project(tx: Tx, house: House, project: str, customers: Sequence[str], process: str) -> None:
    """Ask the PSA and the ERP for a project, customers first, tasks after."""
    asked = []
    for customer in customers:
        asked += commands(house, "erp", "customer", customer, "create", process=process, priority=20)
    customer_keys = keys(asked)
    projects = commands(house, "psa", "project", project, "create", process=process, priority=30)
    projects += commands(
        house, "erp", "project", project, "create", depends_on=customer_keys, process=process, priority=30
    )
    deliveries.ask(tx, [*asked, *projects])
    for task in objects.of_kind(tx, "task", {"project": project}):
        ask_for_task(tx, house, task.gid, project)


def ask_for_task(tx: Tx, house: House, task: str, project: str) -> None:
    """Ask the PSA and the ERP for a task, once its project is there."""
    for role in ("psa", "erp"):
        parents = keys(commands(house, role, "project", project, "create"))
        deliveries.ask(tx, commands(house, role, "task", task, "create", depends_on=parents, priority=40))


def _amend(tx: Tx, house: House, order: Held, process: str) -> str:
    """Let a change order take effect on the contract it amends."""
    found = [c for c in objects.of_kind(tx, "contract", {"code": order.body["amends"] or ""}) if c.gid != order.gid]
    if not found or found[0].status != "active":
        reason = f"the deal {order.body['amends']} it amends is not active"
        hold = Hold(
            "CHANGE_ORDER_PENDING", order.gid, "contract", "sales", reason, "the amended deal becomes active",
            to_units(Decimal(order.body["value"]), order.body["currency"]), order.body["currency"], contract=order.gid,
            legal_entity=hold_entity(order.body),
        )  # fmt: skip
        holds.place(tx, [hold])
        return "held: CHANGE_ORDER_PENDING"
    if order.status == "signed":
        author(tx, house, [("contract", order.gid, {"status": "active"})], actor=ACTOR)
    amended = found[0]
    told = Event(
        f"contract.amended/{order.gid}", "contract.amended", amended.gid, "contract",
        {"code": amended.body["code"], "reason": order.body["code"], "amount": order.body["value"],
         "currency": order.body["currency"], "day": order.body["signed_on"]},
    )  # fmt: skip
    house.react(tx, changes.tell(tx, [told]))
    deliveries.ask(tx, commands(house, "erp", "contract", order.gid, "create", process=process, priority=35))
    _raise_budgets(tx, house, amended, order.body["code"], process)
    ask_write_back(tx, house, order, "Active", f"amends {amended.body['code']}")
    return f"amended {amended.body['code']}"


def _raise_budgets(tx: Tx, house: House, amended: Held, order: str, process: str) -> None:
    """Carry a change order into the budgets of the projects it concerns, here and in the systems that show them."""
    lines = lines_with_orders(tx, amended)
    asked: list[Command] = []
    for project in objects.of_kind(tx, "project", {"contract": amended.gid}):
        mine = [Decimal(line["amount"]) for line in lines if line["legal_entity"] == project.legal_entity]
        budget = format(sum(mine, Decimal(0)), "f")
        if budget != project.body["budget"]:
            author(tx, house, [("project", project.gid, {"budget": budget})], actor=ACTOR)
            for role in ("psa", "erp"):
                asked += commands(house, role, "project", project.gid, f"amend#{order}", process=process, priority=35)
    deliveries.ask(tx, asked)


def ask_write_back(tx: Tx, house: House, contract: Held, status: str, message: str) -> None:
    """Tell the CRM what became of its deal."""
    deliveries.ask(tx, write_back(tx, house, contract, status, message))


def react(tx: Tx, house: House, events: Sequence[Event]) -> None:
    """Start on a won deal; start again when a held deal or its customer changes."""
    for event in events:
        if event.name == "opportunity.won":
            engine.start(tx, ACTOR, event.key.partition("/")[2], event.subject)
        elif event.name in ("contract.changed", "customer.changed"):
            for hold in holds.open_of(tx, codes=sorted(REASONS)):
                if hold["scope_kind"] == "contract" and _concerns(tx, hold["scope"], event.subject):
                    engine.start(tx, ACTOR, event.key.partition("/")[2] + "/" + hold["scope"], hold["scope"])
        elif event.name == "milestone.planned":
            _late_milestone(tx, house, event.subject)
        elif event.name == "project.created":
            held = objects.load(tx, [event.subject])[event.subject]
            waiting = holds.open_of(tx, codes=["CHANGE_ORDER_PENDING"])
            for hold in waiting:
                order = objects.one(tx, hold["scope"])
                deal = objects.one(tx, held.body["contract"])
                if order is not None and deal is not None and order.body["amends"] == deal.body["code"]:
                    holds.release(tx, [hold["number"]], ACTOR, "the amended deal is active")
                    engine.start(tx, ACTOR, f"{hold['scope']}/after", hold["scope"])


def _concerns(tx: Tx, contract: str, changed: str) -> bool:
    if contract == changed:
        return True
    held = objects.one(tx, contract)
    if held is None:
        return False
    return changed in {held.body["customer"], *(line["bill_to"] for line in held.body["lines"])}


def _late_milestone(tx: Tx, house: House, gid: str) -> None:
    """A milestone agreed after its project was set up gets its place at once."""
    milestone = objects.load(tx, [gid])[gid]
    contract = objects.one(tx, milestone.body["contract"])
    if contract is None or contract.status != "active":
        return
    entity = {line["key"]: line["legal_entity"] for line in contract.body["lines"]}.get(milestone.body["line_key"])
    project = derive("project", f"{contract.body['code']}-{entity}")
    if objects.one(tx, project) is not None:
        place_milestone(tx, house, milestone, project)
