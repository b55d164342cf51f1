"""Databases and objects of a running stack into a folder, and back into an empty one."""
