"""Run 0014_schedules.sql."""

from trueup.store.migrate import run_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0014_schedules.sql")
