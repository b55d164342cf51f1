"""One look at what there is to tell: new events, requests that wait long, and what is overdue.

A channel is told first, and then it is recorded: who dies between the two tells it again, with the same key.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from podium.errors import Outage, PodiumError
from podium.ledger.deliveries import Deliveries
from podium.ledger.events import Event, EventKind
from podium.ledger.history import DECISIONS, Present
from podium.ledger.present import FEW_MOVES
from podium.ledger.receivers import NOTIFICATIONS
from podium.lifecycle import approval
from podium.lifecycle.announce import to_announce
from podium.model_file.approval import ROLE, login_key
from podium.model_file.loading import load_specs
from podium.model_file.notify import Notify, channels_of, read_defaults
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import Account, AirflowClient
from podium.operations.notify import overdue
from podium.operations.notify.channels import EMAIL, personal, read_channels, send
from podium.reporting import notices
from podium.reporting.links import airflow_of
from podium.reporting.notices import Notice
from podium.services import Services
from podium.settings import Settings

log = logging.getLogger(__name__)

_HALF, _ALMOST = 0.5, 0.9
_FAILURES = 2
_CHECKED = "ledger-checked"
_PODIUM = "podium"


@dataclass
class Swept:
    """What came of one look.

    Attributes:
        told: What was told to which channel; of a dry run, what would be.
        waiting: How many notices wait for the end of the quiet hours.
        failed: What could not be told, or not looked at, in words.
    """

    told: list[tuple[Notice, str]] = field(default_factory=list)
    waiting: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Mail:
    """One message: a notice for one address, and its name in the record; without an address it waits."""

    notice: Notice
    channel: str
    url: str
    id: str


def sweep(
    services: Services,
    airflow: Callable[[], AirflowClient] | None,
    channels: Mapping[str, str] | None = None,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Swept:
    """Tell every channel what it has not been told yet.

    Args:
        services: The ledger, and the settings with the channels.
        airflow: Logs in to Airflow as Podium; None: its runs and people's addresses are not asked for.
        channels: The addresses of further channels than the settings name.
        now: The moment; None: this one.
        dry_run: Send and record nothing.

    Raises:
        Outage: The ledger did not answer.
        PodiumError: The settings cannot be used.
    """
    now = now or datetime.now(UTC)
    settings, done = services.settings, Swept()
    known = {**read_channels(settings), **(channels or {})}
    defaults, quiet = read_defaults(settings.notify), is_quiet(settings.notify_quiet, now)
    specs = load_specs(settings.models_dir)[0]
    looked = _Look(services, specs, now, airflow_of(settings))
    events = to_announce(services.ledger, NOTIFICATIONS)
    by_event = _notices(looked, events)
    wanted = [*{notice.id: notice for _, notice in by_event if notice is not None}.values()]
    wanted += looked.due()
    wanted += looked.overdue(airflow, done, dry_run=dry_run)
    people = _People(airflow)
    mails = [mail for notice in wanted for mail in _mails(notice, specs, defaults, known, people, done)]
    deliveries = Deliveries(services.ledger)
    told = deliveries.told([mail.id for mail in mails])
    open_mails = [mail for mail in mails if (mail.id, mail.channel) not in told]
    left = _deliver(deliveries, open_mails, done, quiet=quiet, dry_run=dry_run)
    if not dry_run:
        _move_cursors(services, by_event, left)
    return done


def chosen_channels(settings: Settings) -> set[str]:
    """Return the names of all channels that a model file or the settings choose.

    Raises:
        PodiumError: The settings cannot be used.
    """
    chosen = [read_defaults(settings.notify)]
    chosen += [spec.notify for spec in load_specs(settings.models_dir)[0].values()]
    return {name for notify in chosen for names in notify.values() for name in names}


def is_quiet(hours: str, now: datetime) -> bool:
    """Tell whether a moment is in the quiet hours, such as ``22:00-07:00 Europe/Berlin``; "" are none.

    Raises:
        PodiumError: They cannot be read.
    """
    if not hours.strip():
        return False
    try:
        span, _, zone = hours.strip().partition(" ")
        begin, end = (time.fromisoformat(part.strip()) for part in span.split("-"))
        local = now.astimezone(ZoneInfo(zone.strip() or "UTC")).time()
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise PodiumError(
            f"PODIUM_NOTIFY_QUIET: '{hours}' are not hours; write for example 22:00-07:00 Europe/Berlin"
        ) from error
    return begin <= local < end if begin <= end else local >= begin or local < end


@dataclass(frozen=True)
class _Look:
    """What the record and the model files say at one moment."""

    services: Services
    specs: Mapping[str, ModelSpec]
    now: datetime
    page: str

    def due(self) -> Iterator[Notice]:
        """Yield a reminder for each request that waits for half of its time, later an escalation."""
        for model, events in self.presents().items():
            if model not in self.specs:
                continue
            policy = self.specs[model].approval
            for request in approval.readable_requests(events):
                if self.now >= request.expires_at:
                    continue
                if self.now >= notices.time_left(request, _ALMOST):
                    yield notices.escalation(request, policy, self.page)
                elif self.now >= notices.time_left(request, _HALF):
                    yield notices.reminder(request, policy, self.page)

    def presents(self) -> dict[str, Present]:
        """Return where all models stand."""
        return self.services.ledger.presents(self.services.ledger.models(), moves=FEW_MOVES)

    def overdue(
        self, airflow: Callable[[], AirflowClient] | None, done: Swept, *, dry_run: bool
    ) -> list[Notice]:
        """Return what no event tells; what cannot be looked at is told as such, and stops nothing else."""
        ledger, specs, now, page = self.services.ledger, self.specs.values(), self.now, self.page
        looks: list[Callable[[], Iterable[Notice]]] = []
        if airflow is not None:
            looks += [
                lambda: overdue.failed_runs(airflow(), specs, now, page),
                lambda: overdue.missing_runs(airflow(), specs, now, page),
            ]
        looks.append(lambda: overdue.servers_behind(ledger, self.presents(), now, page))
        looks.append(lambda: self._damage(dry_run=dry_run))
        found: list[Notice] = []
        for look in looks:
            try:
                found += look()
            except PodiumError as error:
                done.failed.append(error.with_code())
        return found

    def _damage(self, *, dry_run: bool) -> list[Notice]:
        """Read the whole record once a day, and again while it is damaged."""
        deliveries = Deliveries(self.services.ledger)
        today = f"{_CHECKED}:{self.now.astimezone(UTC):%Y-%m-%d}"
        if deliveries.told([today]):
            return []
        damaged = overdue.damage(self.services, self.now, self.page)
        if not damaged and not dry_run:
            deliveries.note(today, _PODIUM)
        return damaged


class _People:
    """Who has which address; Airflow is asked once, and only if somebody wants to know."""

    def __init__(self, airflow: Callable[[], AirflowClient] | None) -> None:
        self._airflow = airflow
        self._accounts: list[Account] | None = None

    def addresses(self, names: Sequence[str]) -> dict[str, str]:
        """Return the addresses of logins and roles, by login.

        Raises:
            PodiumError: Airflow was not asked, or did not answer.
        """
        if self._airflow is None:
            raise PodiumError("nobody can ask Airflow for people's addresses here")
        if self._accounts is None:
            self._accounts = self._airflow().accounts()
        logins = {login_key(name) for name in names if not name.startswith(ROLE)}
        roles = {name.removeprefix(ROLE) for name in names if name.startswith(ROLE)}
        known = [account for account in self._accounts if account.active and account.email]
        return {
            account.name: account.email
            for account in known
            if login_key(account.name) in logins or account.roles & roles
        }


def _notices(looked: _Look, events: Sequence[Event]) -> list[tuple[Event, Notice | None]]:
    """Return what is told of each event, in order; versions that went in one run have one notice."""
    together: dict[tuple[str, EventKind, str | None], list[Event]] = {}
    for event in events:
        if event.event in notices.OF_MANY_VERSIONS and looked.now - event.at <= overdue.NEWS:
            together.setdefault((event.model, event.event, event.run), []).append(event)
    of_many = {key: notices.of_versions(many, looked.page) for key, many in together.items()}
    return [
        (event, of_many.get((event.model, event.event, event.run)) or _of_event(looked, event))
        for event in events
    ]


def _of_event(looked: _Look, event: Event) -> Notice | None:
    """Return what is told of an event; None for what is no news any more, or not to be told."""
    if looked.now - event.at > overdue.NEWS:
        return None
    spec = looked.specs.get(event.model)
    if event.event in (EventKind.APPROVAL_REQUESTED, EventKind.ANSWER_INVALID, *DECISIONS):
        try:
            request = approval.find_request(looked.services, str(event.run))
            if event.event is EventKind.ANSWER_INVALID:
                return notices.answer_did_not_count(event, request, looked.page)
            if event.event in DECISIONS:
                return notices.decided(event, request, spec, looked.page)
            if spec is None:
                return None
            events = looked.services.ledger.present(event.model, request.version)
            comparison = notices.comparison_of(events, request, spec)
            return notices.approval_wanted(request, spec, comparison, looked.page)
        except Outage:
            raise
        except PodiumError as error:
            log.warning("event %s cannot be announced: %s", event.seq, error)
            return None
    return notices.of_event(event, looked.page)


def _mails(  # noqa: PLR0913 - all that decides who is told
    notice: Notice,
    specs: Mapping[str, ModelSpec],
    defaults: Notify,
    channels: Mapping[str, str],
    people: _People,
    done: Swept,
) -> Iterator[_Mail]:
    """Yield a message for each channel that is told of a notice, of personal ones for each person."""
    own = specs[notice.model].notify if notice.model in specs else {}
    for channel in channels_of(notice.topic, own, defaults):
        url = channels.get(channel)
        if url is None:
            done.failed.append(f"{notice.subject}: there is no channel '{channel}'")
            yield _Mail(notice, channel, "", notice.id)
        elif EMAIL not in url:
            yield _Mail(notice, channel, url, notice.id)
        else:
            try:
                found = people.addresses(notice.people) if notice.people else {}
            except PodiumError as error:
                done.failed.append(f"{notice.subject}: {error.with_code()}")
                yield _Mail(notice, channel, "", notice.id)
                continue
            for login, email in found.items():
                yield _Mail(notice, channel, personal(url, email), f"{notice.id} to {login}")


def _deliver(
    deliveries: Deliveries, mails: Sequence[_Mail], done: Swept, *, quiet: bool, dry_run: bool
) -> set[str]:
    """Send what is to be sent now; returns the ids of the notices that are not told to all yet.

    An address that fails twice is left alone until the next look: it may take its time to fail.
    """
    left: set[str] = set()
    failures: Counter[str] = Counter()
    for mail in mails:
        if quiet and not mail.notice.urgent:
            done.waiting += 1
            left.add(mail.notice.id)
        elif not mail.url or failures[mail.url] >= _FAILURES:
            left.add(mail.notice.id)
        elif dry_run:
            done.told.append((mail.notice, mail.channel))
        elif wrong := send(mail.notice, mail.url):
            failures[mail.url] += 1
            left.add(mail.notice.id)
            done.failed.append(f"channel '{mail.channel}': {wrong}")
            deliveries.note(mail.id, mail.channel, wrong)
        else:
            deliveries.note(mail.id, mail.channel)
            done.told.append((mail.notice, mail.channel))
    return left


def _move_cursors(
    services: Services, by_event: Sequence[tuple[Event, Notice | None]], left: set[str]
) -> None:
    """Move the cursor of each model up to the first of its events that is not told to all."""
    by_model: dict[str, list[tuple[Event, Notice | None]]] = {}
    for event, notice in by_event:
        by_model.setdefault(event.model, []).append((event, notice))
    for model, pairs in by_model.items():
        told = [*takewhile(lambda pair: pair[1] is None or pair[1].id not in left, pairs)]
        if told:
            services.ledger.move_cursor(NOTIFICATIONS.name, model, told[-1][0].seq)
