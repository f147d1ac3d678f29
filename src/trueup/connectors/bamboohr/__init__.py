"""BambooHR: who works here, for which entity, in which role, and what an hour of them costs. Read only."""
