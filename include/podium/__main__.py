"""``python -m podium``: the command line, where no script of it is installed."""

from podium.cli.main import app

app(prog_name="podium")
