"""``podium explain``: what an error means, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from podium.cli.app import app, console


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="As printed with the error, such as PODIUM-FROZEN.")],
) -> None:
    """Explain the code of an error, and what to do: its entry in docs/runbook.md."""
    from rich.markdown import Markdown

    from podium.reporting.runbook import entry

    console.print(Markdown(entry(code), hyperlinks=False))
