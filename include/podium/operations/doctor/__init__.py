"""``podium doctor``: checks every part, and names what to do about each problem."""
