"""How long tests wait for what comes at last."""

# No test proves anything by a short wait, and where cores are shared all may take minutes.
PATIENCE_SECONDS = 600
