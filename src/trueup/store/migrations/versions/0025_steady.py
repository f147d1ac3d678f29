"""Run 0025_steady.sql."""

from trueup.store.migrate import run_file

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0025_steady.sql")
