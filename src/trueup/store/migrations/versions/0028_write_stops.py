"""Run 0028_write_stops.sql."""

from trueup.store.migrate import run_file

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0028_write_stops.sql")
