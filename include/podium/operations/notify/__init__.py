"""Notifications: what there is to tell, and to whom."""
