"""Answers in batches: one pinned version scores a partition from its source to its output."""
