"""The steps from a trained run to the champion and back; only this room decides and moves the alias."""
