"""Run 0027_edits.sql."""

from trueup.store.migrate import run_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0027_edits.sql")
