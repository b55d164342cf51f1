"""`python -m podium.stack`."""

from podium.cli.stack import main

main()
