"""What was recorded, to be read: runs, sessions, calls, and what was said in them."""
