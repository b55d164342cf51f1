"""Channels: an address that Apprise knows, by a name. Addresses hold passwords, which nobody is shown."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlencode, urlsplit

from podium.errors import PodiumError
from podium.reporting.notices import Notice
from podium.settings import Settings
from podium.text import one_line

# In the address of a personal channel, which tells each person whom a notice concerns.
EMAIL = "{email}"
_MAIL, _JSON = ("mailto", "mailtos"), ("json", "jsons")
# Of these the first part behind :// is a host; of others it may be a token.
_HAVE_HOSTS = (*_MAIL, *_JSON, "xml", "xmls", "form", "forms", "ntfy", "ntfys", "gotify", "gotifys")
_SHORTEST_SECRET = 4
_VARIABLE = "PODIUM_NOTIFY_CHANNELS"


def read_channels(settings: Settings) -> dict[str, str]:
    """Return the addresses of the channels that the environment names, by their names.

    Raises:
        PodiumError: It is no JSON object of texts. The message holds none of it: there are passwords in it.
    """
    text = settings.notify_channels.get_secret_value()
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise PodiumError(
            f"{_VARIABLE} is not a JSON object of addresses by name; write for example "
            '{"team": "jsons://hooks.example.org/podium"}'
        )
    return found


def send(notice: Notice, url: str) -> str:
    """Send a notice to an address; returns what went wrong, without secrets, or "".

    A mail is in one thread with the others of its incident, a webhook gets the incident as field ``key``.
    """
    from apprise import Apprise, NotifyFormat, NotifyType
    from apprise.logger import LogCapture

    heard = logging.getLogger("apprise")
    passes_on, heard.propagate = heard.propagate, False
    try:
        with LogCapture(level=logging.WARNING, fmt="%(message)s") as told:  # type: ignore[no-untyped-call]
            channel = Apprise()
            if not channel.add(_addressed(notice, url)):
                return "Apprise does not know its kind of address: see https://appriseit.com/services/"
            text = "\n".join(filter(None, (notice.text, notice.link)))
            sent = channel.notify(
                body=text,
                title=f"Podium: {one_line(notice.subject)}",
                notify_type=NotifyType.WARNING if notice.urgent else NotifyType.INFO,
                body_format=NotifyFormat.TEXT,
            )
            said = " ".join(told.getvalue().split())
    finally:
        heard.propagate = passes_on
    return "" if sent else without_secrets(said or "Apprise could not send it", url)


def without_secrets(text: str, url: str) -> str:
    """Cross out of a text all that an address holds besides its host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    known = {host} if parts.scheme in _HAVE_HOSTS else set()
    pieces = {piece for piece in re.split(r"[/:@?&=+,\s]", url.partition("://")[2]) if piece}
    secrets = {form for piece in pieces for form in (piece, unquote(piece))} - known
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text


def personal(url: str, email: str) -> str:
    """Return the address of a personal channel for one person."""
    return url.replace(EMAIL, quote(email, safe=""))


def _addressed(notice: Notice, url: str) -> str:
    """Add to an address what says of which incident the notice is, as Apprise takes it."""
    scheme = urlsplit(url).scheme
    fields: Mapping[str, str] = {}
    if scheme in _MAIL:
        # No mail has this id; mail programs show all that refer to it as one thread.
        thread = f"<{quote(notice.key, safe='')}@podium>"
        fields = {"+In-Reply-To": thread, "+References": thread}
    if scheme in _JSON:
        fields = {
            ":key": notice.key,
            ":id": notice.id,
            ":event": notice.topic,
            ":model": notice.model,
            ":link": notice.link,
        }
    # A plus sign in front of a name must stay one.
    added = "&".join(f"{name[0]}{urlencode({name[1:]: value})}" for name, value in fields.items() if value)
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
