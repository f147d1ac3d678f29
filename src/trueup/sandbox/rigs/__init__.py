"""Three rigs that try to break the promises: simulation, crash enumeration, real processes; one set of oracles."""
