"""Run 0029_write_stops.sql."""

from trueup.store.migrate import run_file

revision = "0029"
down_revision = "0027"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0029_write_stops.sql")
