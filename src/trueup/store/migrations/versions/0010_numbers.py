"""Run 0010_numbers.sql."""

from trueup.store.migrate import run_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0010_numbers.sql")
