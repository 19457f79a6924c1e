"""traces.db: written, read, and taken in after a restart."""
