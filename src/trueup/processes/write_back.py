"""What the seller sees on the deal: status, project codes, what was billed, and why something waits."""

from decimal import Decimal

from trueup.kernel.money import from_units
from trueup.pipeline.house import House
from trueup.processes.commands import commands, state_of
from trueup.store import objects
from trueup.store.database import Tx
from trueup.store.deliveries import Command
from trueup.store.objects import Held


def write_back(tx: Tx, house: House, contract: Held, status: str, message: str) -> list[Command]:
    """Return the command that tells the CRM where a deal stands; the newest state takes the place of older ones."""
    projects = objects.of_kind(tx, "project", {"contract": contract.gid})
    source = {
        "gid": contract.gid,
        "code": contract.body["code"],
        "status_text": status,
        "project_codes": "; ".join(sorted(project.body["code"] for project in projects)) or None,
        "billed_amount": format(billed(tx, contract), "f"),
        "message": message[:1000],
    }
    purpose = f"status#{state_of(source)}"
    return commands(house, "crm", "contract", contract.gid, purpose, source=source, priority=70, latest=True)


def billed(tx: Tx, contract: Held) -> Decimal:
    """Return what was posted less what was credited, net, in the deal's currency."""
    currency = contract.body["currency"]
    units = tx.value(
        """
        select coalesce(sum(case when body ->> 'invoice_type' = 'credit' then -1 else 1 end * (body ->> 'net')::numeric), 0)
        from objects where kind = 'invoice' and body ->> 'contract' = %s and body ->> 'currency' = %s
            and status in ('posted', 'part_paid', 'paid', 'credited')
        """,
        (contract.gid, currency),
    )
    return Decimal(units).quantize(from_units(1_0000, currency))
