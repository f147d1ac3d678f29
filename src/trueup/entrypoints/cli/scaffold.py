"""`trueup new`: a workspace to start from, ready for git."""

from pathlib import Path
from typing import Annotated

import typer

from trueup.entrypoints.cli.output import answers, say, show
from trueup.kernel.errors import Broken

README = """# {name}

The workspace of a firm: what `trueup` needs to know, and nothing secret.

| file | what it says |
| --- | --- |
| `trueup.yaml` | systems, price book, who owns which hold |
| `terms/` | how lines are billed beyond the contract: increments, caps, orders, expenses |
| `obligations/` | performance obligations of contracts whose revenue is not earned line by line: one file each |
| `entities/` | one file per legal entity: country, currency, where it may sell, letterhead |
| `templates/invoice.typ` | the layout of your invoices, if you want another one than ours (Typst) |
| `ownership.yaml` | who may set which field in which status (delete it to use the default) |
| `mappings/SYSTEM/FILE.yaml` | a mapping of ours, changed: same file name, examples inside |
| `connectors/` | connectors of your own, on equal terms with the built-in ones |

    trueup doctor        is everything in place?
    trueup mapping test  do all examples hold?
    trueup up            serve and work
"""
ENTITY = """code: {code}
name: {name}
country: DE
currency: EUR
sells_to: [DE, FR, NL, AT]
# What its invoices say of it. These are examples: put your own here before an invoice leaves the house.
letterhead:
  street: Musterweg 1
  city: Musterstadt
  post_code: "12345"
  vat_id: DE288347563
  contact: Accounts receivable
  phone: +49 30 5550100
  email: invoices@company.example
  iban: DE89370400440532013000
"""
PACKAGES = """packages:
  ADV-TM:
    name: Advisory, time and materials
    practice: Advisory
    department: Consulting
    billing_methods: [time_and_materials]
    revenue_method: as_invoiced
    phases: [Assess, Plan, Execute, Close]
owners:
  RATE_MISSING: Finance operations
  APPROVAL_MISSING: Project managers
"""

TERMS = """\
# How lines are billed beyond what the contract says. This file holds for every line that has no terms of its own;
# another file beside it may say `applies_to: {line: D07-L1}`, `{contract: D07}` or `{package: ADV-TM}`.
# All of it is optional; docs/reference/settings.md lists every key.
#
# increment: {minutes: 15, direction: up, scope: entry}
# daily_cap_minutes: 480
# cap_policy: split
# po_required: true
# purchase_orders:
#   - {number: "4711", amount: 20000.00, valid_to: 2026-12-31}
# expenses:
#   Hotel: {markup_share: 0.05, receipt_threshold: 25.00}
# lines_by: [role]
applies_to: {}
"""


def new(
    name: str,
    crm: Annotated[str, typer.Option(help="Connector for the CRM.")] = "salesforce",
    psa: Annotated[str, typer.Option(help="Connector for the PSA.")] = "kantata",
    erp: Annotated[str, typer.Option(help="Connector for the ERP.")] = "netsuite",
    hris: Annotated[str, typer.Option(help="Connector for HR.")] = "bamboohr",
    expense: Annotated[str, typer.Option(help="Connector for expenses.")] = "concur",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Make a workspace folder: configuration by file, secrets by reference."""
    with answers(as_json):
        from trueup.connectors.sdk import registry
        from trueup.entrypoints import bootstrap

        folder = Path(name)
        if folder.exists() and any(folder.iterdir()):
            raise Broken(f"{name} exists and is not empty")
        systems = []
        for role, chosen in (("crm", crm), ("psa", psa), ("erp", erp), ("hris", hris), ("expense", expense)):
            manifest = registry.load(chosen).manifest
            if manifest.role != role:
                raise Broken(f"{chosen} is a connector for {manifest.role}, not for {role}")
            prefix = f"{chosen.upper()}"
            lines = [
                f"  {chosen}:",
                f"    connector: {chosen}",
                f"    base_url: {manifest.base_url}",
                "    credentials:",
            ]
            lines += [f"      {key}: secret://env/{prefix}_{key.upper()}" for key in manifest.credentials]
            if manifest.webhook:
                lines.append(f"    webhook_secret: secret://env/{prefix}_WEBHOOK_SECRET")
            systems.append("\n".join(lines))
        files = {
            "trueup.yaml": f"company: {folder.name}\ndatabase: embedded\nlisten: 127.0.0.1:8787\nsystems:\n"
            + "\n".join(systems)
            + "\n"
            + PACKAGES,
            "entities/DE01.yaml": ENTITY.format(code="DE01", name=f"{folder.name} GmbH"),
            "ownership.yaml": bootstrap.default_ownership(),
            "terms/defaults.yaml": TERMS,
            "obligations/.gitkeep": "",
            "mappings/.gitkeep": "",
            "connectors/.gitkeep": "",
            ".gitignore": ".trueup/\n",
            "README.md": README.format(name=folder.name),
        }
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        show({"workspace": str(folder), "files": sorted(files)}, as_json, lambda data: say(f"made {name}/"))
        if not as_json:
            say(f"next: cd {name} && trueup doctor")
