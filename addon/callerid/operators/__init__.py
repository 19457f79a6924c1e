"""For those who run it: pages that say how it is, what it is set to, and what it has counted."""
