"""What becomes of a model after its promotion: windows, their verdicts, and when it is trained again."""
