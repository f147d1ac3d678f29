"""Run 0022_tie_lines.sql."""

from trueup.store.migrate import run_file

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0022_tie_lines.sql")
