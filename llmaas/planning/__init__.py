"""Whether the catalogue fits the fleet, where each replica goes, and what was promised: pure functions, no I/O."""
