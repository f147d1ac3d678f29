"""`trueup einvoice`: make an invoice's document, and judge any e-invoice file, also one we did not make."""

import hashlib
import sys
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from trueup.entrypoints.cli.output import DIFFERS, USAGE, answers, house_of, leave, say, show, table

einvoice = typer.Typer(help="E-invoices: UBL, CII and Factur-X.", no_args_is_help=True)


@einvoice.callback()
def about() -> None:
    """E-invoices: UBL, CII and Factur-X."""


@einvoice.command("check")
def check(file: Path, as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False) -> None:
    """Check a UBL or CII file, or a PDF with one inside: official rules, and every amount worked out again.

    Exit 0 clean, 1 findings, 2 unreadable.
    """
    with answers(as_json):
        from trueup.documents.check import MAX_PDF
        from trueup.documents.check import check as judge

        try:
            with file.open("rb") as given:
                raw = given.read(MAX_PDF + 1)
        except OSError as wrong:
            leave(USAGE, f"{file.name} cannot be read: {wrong.strerror}", as_json)
        report = judge(raw)

        def human(found: dict[str, Any]) -> None:
            for stage in found["stages"]:
                say(f"{'✓' if stage['made'] else '–'} {stage['name']}: {stage['sentence']}")
            if found["findings"]:
                table(
                    f"{found['number'] or file.name}: {len(found['findings'])} findings",
                    ["", "rule", "what", "stated#", "exact#", "difference#"],
                    [
                        [one["severity"], one["rule"], one["sentence"], one["stated"], one["exact"], one["difference"]]
                        for one in found["findings"]
                    ],
                )
            else:
                say("clean")

        show(report, as_json, human)
        if not report.clean:
            raise typer.Exit(DIFFERS if report.readable else USAGE)


@einvoice.command("make")
def make(
    invoice: Annotated[str, typer.Argument(help="Number, code or identifier.")],
    form: Annotated[str, typer.Option("--format", help="ubl, cii, facturx or pdf.")] = "pdf",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; - for stdout. Named after the invoice.")
    ] = None,
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="The firm's workspace folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Make an invoice's document, checked by the official rules and to the last digit; a draft gives a marked PDF only.

    Exit 0 written, 1 there is no such invoice, 5 something is missing or not clean: no file is written.
    """
    with answers(as_json):
        from trueup.documents.make import Format
        from trueup.reporting import documents

        known: dict[str, Format] = {one: one for one in get_args(Format)}
        if form not in known:
            leave(USAGE, f"there is no format {form}; there are {', '.join(known)}", as_json)
        if out is not None and str(out) == "-" and as_json:
            leave(USAGE, "--json and --out - would both write on stdout; name a file", as_json)
        house = house_of(workspace)
        with house.database.transaction() as tx:
            found = documents.material(tx, invoice)
        if found is None:
            leave(DIFFERS, f"there is no invoice {invoice}", as_json)
        made = documents.made(found, known[form], house.firm.letterheads, house.firm.invoice_template)
        if out is not None and str(out) == "-":
            sys.stdout.buffer.write(made.content)
            return
        target = out or Path(made.name)
        try:
            target.write_bytes(made.content)
        except OSError as wrong:
            leave(USAGE, f"{target} cannot be written: {wrong.strerror}", as_json)
        report = {
            "file": str(target),
            "format": form,
            "draft": found.draft,
            "media_type": made.media_type,
            "bytes": len(made.content),
            "sha256": hashlib.sha256(made.content).hexdigest(),
        }
        show(report, as_json, lambda data: say(f"wrote {data['file']}, {data['bytes']:,} bytes"))
