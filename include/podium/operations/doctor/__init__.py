"""``podium doctor``: is every part as it must be? What was seen, and what to do about it."""
