"""Run 0015_intercompany.sql."""

from trueup.store.migrate import run_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0015_intercompany.sql")
