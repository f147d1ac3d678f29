"""Who may say so? Ownership per object, field and status, and the decision with its sentence."""
