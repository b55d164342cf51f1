"""What whoever runs Podium does: set it up, examine it, back it up, copy a version to another registry."""
