"""Rows from files, folders, S3 and SQL, in chunks; and the kinds of columns that a model takes."""
