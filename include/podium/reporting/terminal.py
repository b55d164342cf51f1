"""What Podium's programs print for people: whatever was stored, a terminal is never told what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from podium.text import one_line, visible


class Terminal(Console):
    """A console of rich that shows text as it is: no markup, and an escape for what cannot be seen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape before lines are broken, so that no end of one is cut off."""
        return super().render_str(visible(text), **options)

    def status(self, status: RenderableType, **options: Any) -> Status:
        """Show a status; rich reads the text of one as markup, whatever its console says."""
        return super().status(_shown(status), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written; the codes of rich's own, such as colours, are no text yet."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


class ShownTable(Table):
    """A table of plain strings, with columns as wide as what is shown of them."""

    def add_column(self, header: RenderableType = "", *args: Any, **options: Any) -> None:
        """Add a column; its title may be of what people typed, and no long word of it is cut off."""
        super().add_column(_shown(header), *args, **{"overflow": "fold", **options})

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row of texts."""
        super().add_row(*map(_shown, cells), **options)


class VisibleFormatter(logging.Formatter):
    """Writes each record on one line, and a traceback below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line of a record."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return the traceback, which ends with a message."""
        return visible(super().formatException(ei))


def _shown(cell: Any) -> Any:
    """Return text as what is shown of it; Text itself leaves out some control characters without a word."""
    return Text(visible(cell)) if isinstance(cell, str) else cell
