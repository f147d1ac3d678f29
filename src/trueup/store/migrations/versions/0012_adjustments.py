"""Run 0012_adjustments.sql."""

from trueup.store.migrate import run_file

revision = "0012"
down_revision = "0010"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0012_adjustments.sql")
