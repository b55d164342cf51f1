"""The entries of docs/runbook.md, by the code of an error."""

from __future__ import annotations

import difflib
import re

from podium.errors import NotFound
from podium.settings import PROJECT_ROOT

RUNBOOK = PROJECT_ROOT / "docs" / "runbook.md"
_ENTRY = re.compile(r"^### (PODIUM-[A-Z-]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)


def entries() -> dict[str, str]:
    """Return each code's entry, as Markdown.

    Raises:
        NotFound: The document is not installed here, as beside a model server.
    """
    if not RUNBOOK.is_file():
        raise NotFound(f"{RUNBOOK} is not installed here; read docs/runbook.md where the project is")
    return {code: text.strip() for code, text in _ENTRY.findall(RUNBOOK.read_text(encoding="utf-8"))}


def entry(code: str) -> str:
    """Return the entry of a code, in whatever case and with or without ``PODIUM-``.

    Raises:
        NotFound: There is no such code; names one that is near.
    """
    wanted = f"PODIUM-{code.strip('[] ').upper().removeprefix('PODIUM-')}"
    known = entries()
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"available: {', '.join(sorted(known))}"
        raise NotFound(f"no error has the code {wanted}; {hint}")
    return known[wanted]
