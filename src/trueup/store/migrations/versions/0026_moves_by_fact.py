"""Run 0026_moves_by_fact.sql."""

from trueup.store.migrate import run_file

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0026_moves_by_fact.sql")
