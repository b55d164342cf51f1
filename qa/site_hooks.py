"""What MkDocs does with the pages of docs/ besides: links out of docs/, and diagrams."""

from __future__ import annotations

import re
from typing import Any

# A link to a file of the project that is not a page of the site.
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")
_DIAGRAM = "```mermaid\n"
_NOTE = "*The diagram is text in Mermaid's language; code hosts and editors draw it.*\n\n"


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Name files outside of docs/ by their paths, and say what a diagram's text is.

    A browser would have to fetch Mermaid from elsewhere, and the site fetches nothing.
    """
    depth = page.file.src_uri.count("/")
    return _OUTSIDE.sub(lambda link: _outside(link, depth), markdown).replace(_DIAGRAM, _NOTE + _DIAGRAM)


def _outside(link: re.Match[str], depth: int) -> str:
    text, target = link.groups()
    if target.count("../") <= depth:
        return link[0]
    path = target.replace("../", "")
    return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"
