"""Who listens to which events: every process of the house, in the order they act."""

from trueup.pipeline.house import Reaction
from trueup.processes import (
    brakes,
    expense_posting,
    intercompany,
    invoice_posting,
    milestone_billing,
    month_end,
    opportunity_to_project,
    period_close,
    plans,
    reconciliation,
    resource_sync,
    schedule_billing,
    time_to_billing,
)

REACTIONS: tuple[Reaction, ...] = (
    opportunity_to_project.react,
    resource_sync.react,
    milestone_billing.react,
    invoice_posting.react,
    expense_posting.react,
    brakes.react,
)

PROCESSES = (
    opportunity_to_project,
    time_to_billing,
    brakes,
    intercompany,
    milestone_billing,
    month_end,
    period_close,
    plans,
    reconciliation,
    schedule_billing,
)
"""Imported so that every durable process is registered wherever anything can start one."""
