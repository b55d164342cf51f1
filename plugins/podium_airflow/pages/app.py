"""The page "Models": all models, one model, one decision. HTML from the server, read from the ledger.

What somebody sends from here goes through Airflow's own API, as this person (``calls``).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from anyio import to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import select
from starlette.exceptions import HTTPException as AnyHTTPException

from podium.errors import ForeignForm, NotFound, Outage, PodiumError
from podium.ledger.events import Event, EventKind
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import (
    APPROVE,
    REJECT,
    Answer,
    approver_of,
    may_decide,
    problems,
    reason_problem,
)
from podium.lifecycle.holding import Keeping
from podium.lifecycle.settle import Settlement
from podium.model_file.loading import load_specs, model_files
from podium.model_file.spec import ModelSpec, lifecycle_dag_id
from podium.names import LOOKUP_ACCOUNT, Alias
from podium.operations.airflow_client import HOLD_DAG, RETENTION_DAG
from podium.registry.labels import Labels, all_labels
from podium.registry.pictures import Reader
from podium.reporting import approval_card, decision_overview, model_overview, removal_card, watched
from podium.reporting import overview as overviews
from podium.reporting.old_versions import old_versions
from podium.settings import models_dir
from podium_airflow.answers import connected
from podium_airflow.closing import end_closed_approval
from podium_airflow.pages import calls
from podium_airflow.pages.access import SentForm, SomeVisitor, Visitor
from podium_airflow.pages.html import HEADERS, render

log = logging.getLogger(__name__)

# Private to Airflow are its checks of a login and of a Dag's reader, its sessions and its tables:
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/api_fastapi/core_api/security.py
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/utils/session.py
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/models/dag.py
app = FastAPI(title="Podium", openapi_url=None, docs_url=None, redoc_url=None)

_STATIC = Path(__file__).parent / "static"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_ROLLBACK, _SETTLE = "rollback_champion", "settle_champion"
_MLFLOW_SECONDS = 1.5
_ROLLBACK_REASON = 10
_NO_READER = "MLFLOW_READER_PASSWORD is not set for the API server, so no picture can be read."


@app.exception_handler(AnyHTTPException)
def refused(request: Request, error: AnyHTTPException) -> Response:
    """Send a person who is not logged in to Airflow's login, and back here afterwards."""
    lost = error.status_code == 401 or error.detail == "Invalid JWT token"
    if not lost or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": error.detail}, error.status_code, headers=HEADERS)
    if request.method != "GET":
        told = "You are no longer logged in, and nothing was done. Log in, go back and send the form again."
        return render(request, "message.html", 401, title="Log in again", told=told)
    here = f"{_airflow(request)}/podium{request.url.path.partition('/podium')[2]}"
    login = urlencode({"next": f"{here}?{request.url.query}" if request.url.query else here})
    return RedirectResponse(f"{_airflow(request)}/api/v2/auth/login?{login}", 303, headers=HEADERS)


@app.exception_handler(PodiumError)
def failed(request: Request, error: PodiumError) -> Response:
    """Say what went wrong; an outage is told as one, and never as an answer."""
    if isinstance(error, NotFound):
        return render(request, "message.html", 404, title="Not found", told=str(error))
    if isinstance(error, ForeignForm):
        return render(request, "message.html", 403, title="Not sent", told=str(error))
    log.error("%s: %s", request.url.path, error.with_code())
    title = "Podium cannot answer now" if isinstance(error, Outage) else "Something is wrong"
    return render(request, "message.html", 503, title=title, told=error.with_code())


@app.get(
    "/answers/{dag_id}/{run_id}.svg",
    dependencies=[Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.HITL_DETAIL))],
)
def answers(dag_id: str, run_id: str) -> Response:
    """Draw what a run was answered so far, for whoever may see its required actions."""
    run = f"{dag_id}/{run_id}"
    try:
        services = connected()
        request = approval.find_request(services, run)
        events = services.ledger.present(request.model, request.version, request.champion, run=run)
        lines = approval_card.describe_state(_spec(request.model).approval, request, events)
    except NotFound as error:
        raise HTTPException(404, str(error)) from error
    except PodiumError as error:
        raise HTTPException(503, str(error)) from error
    headers = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(approval_card.answers_picture(lines), media_type="image/svg+xml", headers=headers)


def podium_itself(user: Any = Depends(get_user)) -> None:  # noqa: B008 - FastAPI's way to ask for a login
    """Let in Podium's own account alone, with which tasks ask."""
    if user.get_name() != LOOKUP_ACCOUNT:
        raise HTTPException(403, "only Podium's own account may ask for this")


@app.post("/closed/{dag_id}/{run_id}", dependencies=[Depends(podium_itself)])
def closed(dag_id: str, run_id: str) -> dict[str, str | None]:
    """End the wait of an approval whose request is closed on record."""
    try:
        return {"state": end_closed_approval(dag_id, run_id)}
    except PodiumError as error:
        raise HTTPException(503, str(error)) from error


@app.get("/static/{name}")
def static(name: str) -> Response:
    """Return a style sheet, a script or an icon; none of them holds data."""
    path = _STATIC / name
    if path.suffix not in _KINDS or path.name not in {file.name for file in _STATIC.iterdir()}:
        raise HTTPException(404, "There is no such file.")
    return Response(
        path.read_bytes(), media_type=_KINDS[path.suffix], headers={**HEADERS, "Cache-Control": "no-cache"}
    )


@app.get("/models", response_class=HTMLResponse)
def models(request: Request, who: SomeVisitor) -> Response:
    """Show all models that somebody may see, the most urgent first."""
    specs, broken = _specs()
    labels, silent = _labels()
    found = overviews.overview(connected(), specs, who.person(), who.may_read, _champions(labels))
    dags = _dags([lifecycle_dag_id(row.model) for row in found.rows])
    return render(
        request,
        "models.html",
        overview=found,
        states=overviews.State,
        dags={row.model: dags.get(lifecycle_dag_id(row.model)) for row in found.rows},
        broken=[str(error) for error in broken],
        silent=silent,
        who=who,
    )


@app.get("/models/{model:path}", response_class=HTMLResponse)
def one_model(
    request: Request,
    who: SomeVisitor,
    model: str,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    run: str = "",
) -> Response:
    """Show one model; ``version`` shows its gate report, ``run`` what became of a run started here."""
    return _model(request, who, model, version=version, run=run)


def _model(  # noqa: PLR0913 - what is shown, and what was typed
    request: Request,
    who: Visitor,
    model: str,
    *,
    status: int = 200,
    version: int | None = None,
    run: str = "",
    wrong: str = "",
    form: Mapping[str, str] | None = None,
) -> Response:
    services, spec = connected(), _known(who, model)
    labels, silent = _labels()
    page = model_overview.model_page(services, spec, model, who.person(), _champions(labels))
    report, happened = (
        (None, ()) if version is None else model_overview.version_report(services, model, version)
    )
    dag_id = lifecycle_dag_id(model)
    return render(
        request,
        "model.html",
        status,
        page=page,
        states=overviews.State,
        silent=silent,
        dag_id=dag_id,
        dag=_dags([dag_id]).get(dag_id),
        may_train=spec is not None and who.may_trigger(dag_id),
        may_unpause=who.may_edit(dag_id),
        may_roll_back=spec is not None and who.may_trigger(_ROLLBACK),
        may_settle=spec is not None and who.may_trigger(_SETTLE),
        settle_reason=_approvers_reason(spec),
        may_keep=_may_keep(who, spec),
        rollback_reason=_ROLLBACK_REASON,
        version=version,
        report=report,
        happened=happened,
        run=run,
        result=model_overview.result_of_run(services, model, run) if run else None,
        wrong=wrong,
        form=form or {},
        mlflow=_mlflow_address(),
        who=who,
    )


@app.get("/watch/models/{model:path}", response_class=HTMLResponse)
def watch_window(request: Request, who: SomeVisitor, model: str) -> Response:
    """Show how versions beside each other stand, as a part of a page that is asked for again and again."""
    _known(who, model)
    beside = watched.beside_each_other(connected().ledger, model)
    return render(request, "watch.html", watched=watched, beside=beside)


@app.get("/old/models/{model:path}", response_class=HTMLResponse)
def old(request: Request, who: SomeVisitor, model: str) -> Response:
    """Show what old versions of a model wait for, as a part of its page: there may be thousands."""
    spec = _known(who, model)
    labels, silent = _labels()
    aliases = None if labels is None else labels[model].aliases if model in labels else {}
    return render(
        request,
        "old.html",
        old=old_versions(connected(), model, None if spec is None else spec.retention, aliases),
        silent=silent,
        has_rules=spec is not None and spec.retention is not None,
        dag=_dags([RETENTION_DAG]).get(RETENTION_DAG),
        may_keep=_may_keep(who, spec),
    )


@app.post("/train")
async def train(request: Request, who: SomeVisitor, form: SentForm) -> Response:
    """Start a lifecycle run."""
    model = form.get("model", "")
    await to_thread.run_sync(_known, who, model)
    dag_id = lifecycle_dag_id(model)
    asked = {"as_of": f"{day}T00:00:00Z"} if (day := form.get("as_of", "").strip()) else {}
    if form.get("unpause"):
        said = await calls.unpause(request, dag_id)
        if not said.is_success:
            return await _model_again(request, who, model, calls.told(said), form)
    return await _triggered(request, who, model, dag_id, asked, form)


@app.post("/rollback")
async def roll_back(request: Request, who: SomeVisitor, form: SentForm) -> Response:
    """Ask for a rollback."""
    model, to, reason = form.get("model", ""), form.get("to_version", ""), form.get("reason", "")
    await to_thread.run_sync(_known, who, model)
    if not to.isdecimal():
        return await _model_again(request, who, model, "Choose the version to go back to.", form)
    if wrong := reason_problem(reason, _ROLLBACK_REASON):
        return await _model_again(request, who, model, f"Not sent: {wrong}.", form)
    asked = {"model": model, "to_version": int(to), "reason": reason.strip(), "force_version": False}
    return await _triggered(request, who, model, _ROLLBACK, asked, form)


@app.post("/settle")
async def settle(request: Request, who: SomeVisitor, form: SentForm) -> Response:
    """Ask to settle a champion that was moved outside Podium."""
    model, how, reason = form.get("model", ""), form.get("settlement", ""), form.get("reason", "")
    spec = await to_thread.run_sync(_known, who, model)
    if how not in tuple(Settlement):
        return await _model_again(request, who, model, "Choose how to settle it.", form)
    if wrong := reason_problem(reason, _approvers_reason(spec)):
        return await _model_again(request, who, model, f"Not sent: {wrong}.", form)
    asked = {"model": model, "settlement": how, "reason": reason.strip()}
    return await _triggered(request, who, model, _SETTLE, asked, form)


@app.post("/keep")
async def keep(request: Request, who: SomeVisitor, form: SentForm) -> Response:
    """Ask to hold a version, to release it, or to restore it from quarantine."""
    model, reason = form.get("model", ""), form.get("reason", "")
    spec = await to_thread.run_sync(_known, who, model)
    what, _, version = form.get("keep", "").partition(":")
    if what not in tuple(Keeping) or not version.isdecimal():
        return await _model_again(request, who, model, "Choose what to do with which version.", form)
    if wrong := await to_thread.run_sync(_cannot_keep, who, spec, reason):
        return await _model_again(request, who, model, f"Not sent: {wrong}.", form)
    asked = {"model": model, "version": int(version), "what": what, "reason": reason.strip()}
    return await _triggered(request, who, model, HOLD_DAG, asked, form)


def _may_keep(who: Visitor, spec: ModelSpec | None) -> bool:
    """Tell whether somebody is an approver of a model, and may trigger what holds versions."""
    return spec is not None and who.may_trigger(HOLD_DAG) and may_decide(spec.approval, who.person())


def _cannot_keep(who: Visitor, spec: ModelSpec | None, reason: str) -> str:
    """Say why somebody's word about a version would not count, before it is sent; "" if it would."""
    if spec is None:
        return "the model no longer has a model file, so nobody may decide"
    if wrong := reason_problem(reason, _approvers_reason(spec)):
        return wrong
    try:
        approver_of(spec.name, spec.approval, who.person(), reason)
    except PodiumError as error:
        return str(error)
    return ""


def _approvers_reason(spec: ModelSpec | None) -> int:
    """Return how many letters and digits an approver's reason needs: by the model file and the form."""
    return max(_ROLLBACK_REASON, spec.approval.reason_min_length if spec else 0)


async def _triggered(  # noqa: PLR0913 - what is asked for, by whom, of what
    request: Request,
    who: Visitor,
    model: str,
    dag_id: str,
    asked: Mapping[str, Any],
    form: Mapping[str, str],
) -> Response:
    said = await calls.trigger(request, dag_id, asked)
    if not said.is_success:
        return await _model_again(request, who, model, calls.told(said), form)
    run = urlencode({"run": f"{dag_id}/{said.json()['dag_run_id']}"})
    return RedirectResponse(f"{_here(request)}/models/{quote(model, safe='')}?{run}", 303, headers=HEADERS)


async def _model_again(
    request: Request, who: Visitor, model: str, wrong: str, form: Mapping[str, str]
) -> Response:
    """Show the page of a model again, with what was wrong and what was typed."""
    again = functools.partial(_model, request, who, model, status=422, wrong=wrong, form=form)
    return await to_thread.run_sync(again)


@app.get("/state/models/{model:path}")
async def state_of_model(request: Request, who: SomeVisitor, model: str, run: str = "") -> Response:
    """Tell a page that is open whether something has happened since it was drawn."""

    def newest() -> tuple[int, Event | None]:
        _known(who, model)
        services = connected()
        seq = services.ledger.present(model)[-1].seq if model in services.ledger.models() else 0
        return seq, model_overview.result_of_run(services, model, run) if run else None

    seq, result = await to_thread.run_sync(newest)
    state, note = await calls.run_state(request, run) if run and result is None else ("", "")
    ended = state in ("success", "failed")
    told = {
        "newest": seq,
        "run": f"{state}: {note}" if ended and note else state,
        "ended": ended,
        "done": result is not None,
    }
    return JSONResponse(told, headers=HEADERS)


@app.get("/state/decisions/{seq}")
def state_of_decision(who: SomeVisitor, seq: int) -> Response:
    """Tell a page that is open whether something has happened since it was drawn."""
    asked, _ = _asked(who, seq)
    of_run = connected().ledger.of_run(asked.model, str(asked.run))
    return JSONResponse({"newest": of_run[-1].seq}, headers=HEADERS)


@app.get("/decisions/{seq}", response_class=HTMLResponse)
def one_decision(request: Request, who: SomeVisitor, seq: int) -> Response:
    """Show one decision: what would change, how it was judged, who may decide, what became of it."""
    return _decision(request, who, seq)


def _decision(  # noqa: PLR0913 - what is shown, and what was typed
    request: Request,
    who: Visitor,
    seq: int,
    *,
    status: int = 200,
    wrong: str = "",
    form: Mapping[str, str] | None = None,
) -> Response:
    asked, spec = _asked(who, seq)
    page = decision_overview.decision_page(connected(), spec, asked, who.person())
    counts, mine = decision_overview.describe_mine(page)
    return render(
        request,
        "decision.html",
        status,
        page=page,
        asked_for=decision_overview.asked_for(page.request),
        consequences=removal_card.consequences(page.listed, spec),
        happens=removal_card.HAPPENS,
        counts=counts,
        mine=mine,
        may_answer=who.may_answer(page.request.run.partition("/")[0]),
        wrong=wrong,
        form=form or {},
        mlflow=_mlflow_address(),
        who=who,
    )


@app.post("/decisions/{seq}")
async def decide(request: Request, who: SomeVisitor, seq: int, form: SentForm) -> Response:
    """Answer a request, by Airflow's own API and so through the door of answers."""
    asked, spec = await to_thread.run_sync(_asked, who, seq)
    option, reason = form.get("option", ""), form.get("reason", "")
    again = functools.partial(_decision, request, who, seq, status=422, form=form)
    wrong = await to_thread.run_sync(_problem, who, asked, spec, form)
    if wrong:
        return await to_thread.run_sync(functools.partial(again, wrong=f"Not sent: {wrong}."))
    ticks = {name: name in form for name in (spec.approval.ticks if spec else ())}
    said = await calls.answer(request, str(asked.run), option, {"reason": reason, **ticks})
    if not said.is_success:
        return await to_thread.run_sync(functools.partial(again, wrong=calls.told(said)))
    return RedirectResponse(f"{_here(request)}/decisions/{seq}#answer", 303, headers=HEADERS)


def _problem(who: Visitor, asked: Event, spec: ModelSpec | None, form: Mapping[str, str]) -> str:
    """Say why an answer would not count, before it is sent; "" if it would."""
    if form.get("option") not in (APPROVE, REJECT):
        return "choose to approve or to reject"
    if spec is None:
        return f"{asked.model} no longer has a model file, so nobody may decide"
    page = decision_overview.decision_page(connected(), spec, asked, who.person())
    if not page.open:
        return f"the request is closed. {page.state}"
    ticked = frozenset(text for name, text in spec.approval.ticks.items() if name in form)
    answer = Answer(form["option"], form.get("reason", ""), who.person(), datetime.now(UTC), ticked)
    given = [event for event in page.answers if event.event is EventKind.APPROVAL_GIVEN]
    found = problems(spec.approval, page.request, answer, given)
    return "; ".join([*found, *(page.problems if answer.option == APPROVE else ())])


@app.get("/decisions/{seq}/pictures", response_class=HTMLResponse)
def pictures(request: Request, who: SomeVisitor, seq: int) -> Response:
    """List the pictures of a candidate, as a part of its page: MLflow may take long to answer."""
    asked, spec = _asked(who, seq)
    page = decision_overview.decision_page(connected(), spec, asked, who.person())
    found, silent = [], ""
    try:
        reader = _reader()
        for place, folder in enumerate(page.pictures):
            found += [(place, name) for name in reader.pictures(page.mlflow_run, folder)]
    except PodiumError as error:
        silent = str(error)
    return render(request, "pictures.html", seq=seq, pictures=found, silent=silent)


@app.get("/decisions/{seq}/pictures/{place}/{name}")
def picture(who: SomeVisitor, seq: int, place: int, name: str) -> Response:
    """Return one picture of a candidate, read by Podium's own account."""
    asked, spec = _asked(who, seq)
    page = decision_overview.decision_page(connected(), spec, asked, who.person())
    if place not in range(len(page.pictures)):
        raise HTTPException(404, "There is no such folder of pictures.")
    content = _reader().picture(page.mlflow_run, page.pictures[place], name)
    headers = {**HEADERS, "Cache-Control": "private, max-age=3600"}
    return Response(content, media_type="image/png", headers=headers)


@app.get("/dags/{dag_id}", response_class=HTMLResponse)
def of_dag(request: Request, who: SomeVisitor, dag_id: str) -> Response:
    """Show the model of a Dag, on the tab that Airflow puts on each of them."""
    for spec in _specs()[0].values():
        if dag_id in spec.dag_ids:
            return _model(request, who, spec.name)
    told = f"The Dag {dag_id} does not belong to a single model."
    return render(request, "message.html", title="No model", told=told)


def _known(who: Visitor, model: str) -> ModelSpec | None:
    """Return the model file of a model that exists and that this person may see; None if it has none.

    Raises:
        NotFound: There is no such model, or this person may not see it.
    """
    who.assert_may_read(model)
    spec = _specs()[0].get(model)
    if spec is None and model not in connected().ledger.models():
        raise NotFound(f"There is no model '{model}', or you may not see it.")
    return spec


def _asked(who: Visitor, seq: int) -> tuple[Event, ModelSpec | None]:
    """Return a request for approval that this person may see, and the model file.

    Raises:
        NotFound: There is none of this number, or this person may not see it.
    """
    event = connected().ledger.event(seq) if 0 < seq < 2**63 else None
    if event is None or event.event is not EventKind.APPROVAL_REQUESTED or not who.may_read(event.model):
        raise NotFound(f"There is no approval request {seq}, or you may not see it.")
    return event, _specs()[0].get(event.model)


def _spec(model: str) -> ModelSpec:
    spec = _specs()[0].get(model)
    if spec is None:
        raise NotFound(f"the model '{model}' has no valid model file")
    return spec


def _specs() -> tuple[Mapping[str, ModelSpec], list[Any]]:
    """Return all model files, read again when one of them has changed."""
    files = model_files(models_dir())
    return _read_specs(
        models_dir(), tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    )


@functools.lru_cache(maxsize=1)
def _read_specs(folder: Path, _files: tuple[Any, ...]) -> tuple[Mapping[str, ModelSpec], list[Any]]:
    specs, errors = load_specs(folder)
    return specs, list(errors)


def _labels() -> tuple[Mapping[str, Labels] | None, str]:
    """Return what all registered models bear, by one request; or None, and why MLflow did not tell."""
    services = connected()
    try:
        reader = services.settings.mlflow_reader_password
        if reader is None:
            return services.all_labels(), ""
        login = ("reader", reader.get_secret_value())
        return all_labels(services.settings.mlflow_tracking_uri, login, _MLFLOW_SECONDS), ""
    except PodiumError as error:
        return None, str(error)


def _champions(labels: Mapping[str, Labels] | None) -> dict[str, int | None] | None:
    if labels is None:
        return None
    return {model: of.aliases.get(Alias.CHAMPION) for model, of in labels.items()}


def _reader() -> Reader:
    settings = connected().settings
    if settings.mlflow_reader_password is None:
        raise PodiumError(_NO_READER)
    login = ("reader", settings.mlflow_reader_password.get_secret_value())
    return Reader(settings.mlflow_tracking_uri, login)


def _mlflow_address() -> str:
    settings = connected().settings
    return settings.mlflow_public_url or settings.mlflow_tracking_uri


def _dags(dag_ids: list[str]) -> dict[str, Any]:
    """Return of each Dag whether it is paused and when it runs next, by one query."""
    asked = select(DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
    with create_session() as session:
        return {row.dag_id: row for row in session.execute(asked.where(DagModel.dag_id.in_(dag_ids)))}


def _here(request: Request) -> str:
    return str(request.scope["root_path"])


def _airflow(request: Request) -> str:
    return _here(request).removesuffix("/podium")
