"""`python -m podium.stack`."""

from podium.stack.cli import main

main()
