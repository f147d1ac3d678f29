"""Run 0013_evidence.sql."""

from trueup.store.migrate import run_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Go forward; there is no way back."""
    run_file("0013_evidence.sql")
