"""The command `podium`: one file a command; it parses, calls and prints."""
