"""Rows from files, folders, S3 and SQL, in chunks."""
