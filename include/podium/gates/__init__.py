"""The evidence on a version, the rules that judge it, and the report."""
