"""What people read: status, comparison, the approval card. Nothing that decides imports it."""
