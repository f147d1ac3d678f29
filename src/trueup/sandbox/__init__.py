"""The vendor simulators' host, their faults, and the demo firm."""
