from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from podium.errors import NotFound, SpecError
from podium.model_file.approval import ApprovalSpec
from podium.model_file.loading import find_spec, load_spec, load_specs
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.settings import PROJECT_ROOT
from support.elsewhere import elsewhere_toy
from support.model_files import RANKING, SEARCH, problem_without_line, profile
from support.toy import TOY

ToyFile = Callable[..., Path]


def test_the_shipped_model_files_are_good() -> None:
    specs, errors = load_specs(PROJECT_ROOT / "include" / "models")
    assert errors == []
    assert {"bug-severity-clf", "soccer-match-outcome"} <= set(specs)
    assert specs["soccer-match-outcome"].lifecycle_dag_id == "lifecycle_soccer_match_outcome"


def test_a_good_file_is_read(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file())
    assert spec.approval.expires_after == timedelta(hours=1)
    assert [type(gate).__name__ for gate in spec.gates] == ["RowsGate", *["MetricGate"] * 3]


def test_the_approval_that_a_file_does_not_describe_is_strict(toy_file: ToyFile) -> None:
    approval = load_spec(toy_file()).approval
    assert (approval.required, approval.prevent_self_approval, approval.checklist) == (1, True, ())
    assert approval.valid_for == timedelta(days=1)
    assert load_spec(toy_file()).champion_moved_outside == "ask"


def test_what_a_file_leaves_out(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file(params={}))
    assert (spec.data.examples, spec.data.group, spec.data.label_map) == (None, None, {})
    assert (spec.data.time_resolution, spec.schedule, spec.skops_trusted_types) == ("day", None, ())
    assert spec.retention is None


def test_a_ranking_has_groups_and_no_labels(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file(**RANKING, data__group="day"))
    assert (spec.task, spec.labels, spec.data.group) == ("ranking", (), "day")


def test_a_regression_needs_no_labels(toy_file: ToyFile) -> None:
    spec = load_spec(toy_file(task="regression", labels=[], gates=[{"metric": "r2", "threshold": 0}]))
    assert (spec.task, spec.labels) == ("regression", ())


def test_other_names_of_labels(toy_file: ToyFile) -> None:
    names = {"N": "no", "YES": "yes", "1": "yes"}
    assert load_spec(toy_file(data__label_map=names)).data.label_map == names


SOURCES = ["rows.csv.gz", "sales.v2.parquet", "include/data/parts", "v1.2/day=3", "rows/*.v2*.parquet"]
SOURCES += ["s3://bucket/day=1", "delta:s3://bucket/table", "delta:include/data/sales"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_or_folder_below_the_project_is_a_source(toy_file: ToyFile, source: str) -> None:
    assert load_spec(toy_file(data__source=source)).data.source == source


def test_a_query_is_a_source(toy_file: ToyFile) -> None:
    data = load_spec(toy_file(**QUERY)).data
    assert (data.source, data.database) == (QUERY["data__source"], "SHOP_DB_URL")
    whole = {**QUERY, "data__source": "sql:SELECT a::int, '12:30' AS t FROM s", "data__all_rows": True}
    assert load_spec(toy_file(**whole)).data.all_rows


def test_a_param_may_be_null_or_a_list(toy_file: ToyFile) -> None:
    given = {"depth": None, "layers": [64, 32], "names": ["a", None, True, 0.5], "none": []}
    spec = load_spec(toy_file(params=given, profiles={"smoke": {"params": {"depth": [1], "layers": None}}}))
    assert spec.params == given
    assert [type(value) for value in spec.params["names"]] == [str, type(None), bool, float]
    assert spec.in_profile(Profile.SMOKE).params == {**given, "depth": [1], "layers": None}


@pytest.mark.parametrize(
    ("text", "number"), [("1e-3", 0.001), ("-2E+3", -2000.0), ("1.5e2", 150.0), ("7", 7)]
)
def test_params_keep_their_type_and_a_number_with_an_exponent_is_one(
    toy_file: ToyFile, text: str, number: float
) -> None:
    path = toy_file(params={"strength": "here", "on": True, "name": "1e", "whole": 1})
    path.write_text(path.read_text().replace("here", text))
    params = load_spec(path).params
    assert params == {"strength": number, "on": True, "name": "1e", "whole": 1}
    assert [type(params[name]) for name in ("strength", "on", "whole")] == [type(number), bool, int]


def test_roles_may_approve_as_many_as_there_are(toy_file: ToyFile) -> None:
    path = toy_file(
        approval={
            "approvers": [" amy ", "Role: Op"],
            "required": 5,
            "prevent_self_approval": False,
            "checklist": ["I looked at the calibration"],
            "valid_for": "12h",
        },
        champion_moved_outside="revert",
    )
    spec = load_spec(path)
    assert spec.approval.approvers == ("amy", "role:Op")
    assert (spec.approval.required, spec.approval.prevent_self_approval) == (5, False)
    assert spec.approval.checklist == ("I looked at the calibration",)
    assert spec.approval.valid_for == timedelta(hours=12)
    assert spec.champion_moved_outside == "revert"


TOP_KEYS = (
    "approval, champion_moved_outside, code, compute, data, description, gates, holdout, labels, limits, "
    "monitoring, name, notify, owner, params, pickle, profiles, ramp, requirements, retention, schedule, "
    "scoring, search, skops_trusted_types, task, trainer, training, watch"
)
DATA_KEYS = (
    "all_rows, columns, database, duplicates, entry_point, examples, group, inputs, label, label_map, "
    "source, tables, tests, time_column, time_formats, time_resolution, undated, unknown_labels, unlabelled"
)
APPROVAL_KEYS = (
    "approvers, checklist, expires_after, prevent_self_approval, reason_min_length, required, valid_for"
)
PROFILE_KEYS = "gates, params, rows, trials"
DIMENSION = "unknown key; did you mean 'high'? allowed: choices, high, log, low, type"
NAME = "must be lower-case words and digits joined by '-', such as soccer-match-outcome"
IMPORT = "must be an import path such as trainers.my_model:train"
DURATION = "must be a duration such as 30m, 12h or 3d (s, m, h, d; more than zero, at most 365d)"
BEST = "must be `best N`, such as `best 3` (N from 1 to 9999); leave it out to keep all"
CRON = "must be a cron expression such as '0 6 * * 1' (UTC), or null for no schedule"
FIVE = "must have 5 fields (minute, hour, day, month, weekday), such as '0 6 * * 1'"
NEVER = "never occurs; give a day that its month has, such as '0 6 1 * *'"
BY_CHANCE = "must say when, such as '0 6 * * 1'; H and R mean a time by chance"
PACKAGE = "must be the name of an installed package such as scikit-learn: no version, option, path or URL"
PYTHONS = "is Python's own; must be a function of yours, such as trainers.my_model:train"
IN_PROJECT = "must be a file of the project, relative to its top folder, without '..' and hidden folders"
NOT_READ = (
    "no training reads {}; allowed are a file (.csv, .csv.gz, .parquet), a folder or pattern, and for "
    "data.source also s3://, sql: and delta:"
)
NO_FUTURE = (
    "has no :as_of, so each run would read the future; write WHERE day < :as_of (CAST(:as_of AS date) for a "
    "cast), or all_rows: true"
)
PASSWORD = (
    "holds a password; credentials come from the environment, a database's URL from the variable that the "
    "key database names"
)
QUERY = {"data__source": "sql:SELECT * FROM sales WHERE day < :as_of", "data__database": "SHOP_DB_URL"}
ALL_ROWS = "only goes with a query without :as_of where there is a time_column"
SUFFIX = "must be a file that ends in .csv, .csv.gz, .parquet, or a folder that exists"
PARAM = "must be text (a date in quotes), a finite number, true, false, null, or a list of these"
QUOTES = "must be text: write it in quotes"
YES_NO = f"{QUOTES} (without them yes, no, on and off mean true and false)"


def space(**dimension: Any) -> dict[str, Any]:
    return {"search": {**SEARCH, "space": {"strength": dimension}}}


# The changed keys, and all that is said of the file, after its path. The gates are in test_gates.py.
WRONG: list[tuple[dict[Any, Any], str]] = [
    ({"shedule": "@daily"}, f"shedule: unknown key; did you mean 'schedule'? allowed: {TOP_KEYS}"),
    ({"name": "My Model"}, f"name: 'My Model': {NAME}"),
    ({"name": "toy-"}, f"name: 'toy-': {NAME}"),
    ({"name": ""}, f"name: '': {NAME}"),
    ({"name": 5}, f"name: 5: {QUOTES}"),
    ({"name": "a" * 101}, f"name: '{'a' * 79}...: must have at most 100 characters"),
    ({"owner": ""}, "owner: '': must not be empty"),
    ({"owner": None}, "owner: null: must be text"),
    ({"description": ["a"]}, "description: ['a']: must be text"),
    ({"description": {"en": "a"}}, "description: {...}: must be text"),
    ({"trainer": "toy_trainer"}, f"trainer: 'toy_trainer': {IMPORT}"),
    ({"trainer": "toy-trainer:train"}, f"trainer: 'toy-trainer:train': {IMPORT}"),
    ({"trainer": "trainers..toy:train"}, f"trainer: 'trainers..toy:train': {IMPORT}"),
    ({"trainer": "os:system"}, f"trainer: 'os:system': {PYTHONS}"),
    ({"trainer": "os.path:join"}, f"trainer: 'os.path:join': {PYTHONS}"),
    ({"data__examples": "subprocess:run"}, f"data.examples: 'subprocess:run': {PYTHONS}"),
    ({"owner": "a" * 251}, f"owner: '{'a' * 79}...: must have at most 250 characters"),
    ({"task": "clustering"}, "task: 'clustering': allowed: classification, regression, ranking, generation"),
    (
        {"task": "clasification"},
        "task: 'clasification': did you mean 'classification'? allowed: classification, regression, ranking, "
        "generation",
    ),
    # labels
    ({"labels": ["only"]}, "labels: ['only']: a classification needs at least 2"),
    ({"labels": []}, "labels: []: a classification needs at least 2"),
    ({"labels": None}, "labels: null: must be a list"),
    ({"labels": "no, yes"}, "labels: 'no, yes': must be a list"),
    ({"labels": ["a", "b", "a"]}, "labels: ['a', 'b', 'a']: each label once; 'a' appears twice"),
    ({"labels": ["a", ""]}, "labels[1]: '': must not be empty"),
    ({"labels": ["0", 1]}, f"labels[1]: 1: {QUOTES}"),
    ({"labels": [False, "yes"]}, f"labels[0]: false: {YES_NO}"),
    ({"labels": ["then", date(2024, 1, 1)]}, f"labels[1]: 2024-01-01: {QUOTES}"),
    (
        {**RANKING, "labels": ["a", "b"], "data__group": "day"},
        "labels: ['a', 'b']: only a classification has labels; the task is ranking",
    ),
    # data
    ({"data": None}, f"data: null: must be a mapping; allowed keys: {DATA_KEYS}"),
    ({"data": ["toy.csv"]}, f"data: ['toy.csv']: must be a mapping; allowed keys: {DATA_KEYS}"),
    (
        {"data__time_colum": "day"},
        f"data.time_colum: unknown key; did you mean 'time_column'? allowed: {DATA_KEYS}",
    ),
    ({"data__source": ""}, "data.source: '': must not be empty"),
    *(
        ({"data__source": f"{scheme}{rest}"}, f"data.source: '{scheme}{rest}': {NOT_READ.format(scheme)}")
        for scheme, rest in (
            ("gs:", "//bucket/rows.parquet"),
            ("https:", "//x.example/rows.csv"),
            ("S3:", "//bucket/day=1"),
            ("file:", "///rows.csv"),
        )
    ),
    *(
        ({"data__source": name}, f"data.source: '{name}': {SUFFIX}")
        for name in ("rows.xlsx", "rows.CSV", "rows.parquet.gz", "v1.2/rows.json")
    ),
    (
        {"data__examples": "a:b", "data__tables": {"places": "s3://bucket/places.csv"}},
        f"data.tables.places: 's3://bucket/places.csv': {NOT_READ.format('s3:')}",
    ),
    *(
        ({"data__source": source}, f"data.source: '{source}': {source} needs {what} behind it")
        for source, what in (("sql:", "a query"), ("delta:", "a path"), ("s3://", "a bucket"))
    ),
    (
        {"data__source": "sql:SELECT 1"},
        "data.database: missing; sql: needs the environment variable with the database's URL",
    ),
    (
        {"data__database": "SHOP_DB_URL"},
        "data.database: 'SHOP_DB_URL': only goes with a source that begins with sql:",
    ),
    *(
        ({**QUERY, "data__source": f"sql:SALES {where}"}, f"data.source: 'sql:SALES {where}': {NO_FUTURE}")
        for where in ("WHERE day < now()", "-- < :as_of", "/* :as_of */", "WHERE day < x:as_of")
    ),
    ({**QUERY, "data__all_rows": True}, f"data.all_rows: true: {ALL_ROWS}"),
    ({"data__all_rows": True}, f"data.all_rows: true: {ALL_ROWS}"),
    (
        {**QUERY, "data__source": "sql:SELECT :x, day FROM s WHERE day < :as_of"},
        "data.source: 'sql:SELECT :x, day FROM s WHERE day < :as_of': a training has no value for :x, "
        "only for :as_of; if it is text, write \\:x",
    ),
    (
        {**QUERY, "data__examples": "a:b", "data__tables": {"places": "places.csv"}},
        "data.tables: stand beside a file or folder; join them in the query",
    ),
    (
        {"data__source": "s3://me:secret@bucket/rows"},
        f"data.source: 's3://me:***@bucket/rows': {PASSWORD}",
    ),
    (
        {**QUERY, "data__database": "postgresql://me:secret@host/shop"},
        "data.database: 'postgresql://me:***@host/shop': must be the name of an environment variable, "
        "such as SHOP_DB_URL",
    ),
    ({"data__examples": "x"}, f"data.examples: 'x': {IMPORT}"),
    ({"data__time_column": 5}, f"data.time_column: 5: {QUOTES}"),
    (
        {"data__time_resolution": "days"},
        "data.time_resolution: 'days': did you mean 'day'? allowed: day, moment",
    ),
    ({"data__inputs": []}, "data.inputs: []: needs at least 1"),
    ({"data__inputs": "x"}, "data.inputs: 'x': must be a list"),
    ({"data__inputs": ["x", "y"]}, "data.inputs: ['x', 'y']: must not hold the label 'y'"),
    ({"data__inputs": ["x", "x"]}, "data.inputs: ['x', 'x']: each column once; 'x' appears twice"),
    ({"data__label_map": ["n"]}, "data.label_map: ['n']: must be a mapping"),
    ({"data__label_map": {1: "yes"}}, f"data.label_map: key 1: {QUOTES}"),
    ({"data__label_map": {True: "yes"}}, f"data.label_map: key true: {YES_NO}"),
    ({"data__label_map": {"": "yes"}}, "data.label_map: key '': must not be empty"),
    ({"data__label_map": {"y": True}}, f"data.label_map.y: true: {YES_NO}"),
    (
        {"data__label_map": {"y": "yess"}},
        "data.label_map.y: 'yess': no such label; did you mean 'yes'? allowed: no, yes",
    ),
    (
        {"data__label_map": {"N": "no", " n": "yes"}},
        "data.label_map: each name once (case does not matter); 'n' appears twice",
    ),
    ({"data__label_map": {"No": "yes"}}, "data.label_map.No: 'yes': 'No' is a label itself"),
    (
        {**RANKING, "data__group": "day", "data__label_map": {"y": "yes"}},
        "data.label_map: only a classification has labels; the task is ranking",
    ),
    (RANKING, "data.group: missing; a ranking needs the column whose equal values are one list"),
    (
        {"data__tables": {"places": "places.csv"}},
        "data.tables: needs data.examples, the function that gets them",
    ),
    (
        {"data__examples": "a:b", "data__tables": {"my places": "places.csv"}},
        "data.tables.my places: 'places.csv': its name must be one that an argument in Python can have",
    ),
    ({"data__group": "day"}, "data.group: 'day': only a ranking has it; the task is classification"),
    # holdout, params, requirements, schedule and the rest
    ({"holdout": 7}, "holdout: 7: must be a mapping; allowed keys: by, days, share"),
    ({"holdout": {}}, "holdout: give either days or share"),
    ({"holdout": {"days": 7, "share": 0.2}}, "holdout: give either days or share"),
    ({"holdout": {"share": 1}}, "holdout.share: 1: must be less than 1"),
    ({"holdout__by": "x"}, "holdout.by: 'x': goes with share"),
    ({"data__time_column": None}, "holdout.days: 100: needs data.time_column; without times give share"),
    ({"data__time_formats": []}, "data.time_formats: []: needs at least 1"),
    (
        {"data__unlabelled": "dropp"},
        "data.unlabelled: 'dropp': did you mean 'drop'? allowed: fail, drop",
    ),
    ({"holdout__days": 0}, "holdout.days: 0: must be greater than 0"),
    ({"holdout__days": "7"}, "holdout.days: '7': must be a whole number"),
    ({"holdout__days": True}, "holdout.days: true: must be a whole number"),
    ({"holdout__days": 1.5}, "holdout.days: 1.5: must be a whole number"),
    ({"holdout__day": 5}, "holdout.day: unknown key; did you mean 'days'? allowed: by, days, share"),
    ({"params": ["seed"]}, "params: ['seed']: must be a mapping"),
    ({"params": {5: 1}}, f"params: key 5: {QUOTES}"),
    ({"params": {"": 1}}, "params: key '': must not be empty"),
    (
        {"params": {"podium.profile": "smoke"}},
        "params: rename 'podium.profile': names that begin with podium. are Podium's own",
    ),
    ({"params__seed": {"a": 1}}, f"params.seed: {PARAM}"),
    ({"params__seed": [1, [2]]}, f"params.seed: [1, [2]]: {PARAM}"),
    ({"params__seed": [float("inf")]}, f"params.seed: [inf]: {PARAM}"),
    ({"params__seed": float("nan")}, f"params.seed: nan: {PARAM}"),
    ({"params__since": date(2024, 1, 1)}, f"params.since: 2024-01-01: {PARAM}"),
    ({"requirements": []}, "requirements: []: needs at least 1"),
    ({"requirements": ["numpy", None]}, "requirements[1]: null: must be text"),
    ({"requirements": ["-r x"]}, f"requirements[0]: '-r x': {PACKAGE}"),
    ({"requirements": ["--index-url=http://x y"]}, f"requirements[0]: '--index-url=http://x y': {PACKAGE}"),
    ({"requirements": ["numpy", "./pkg"]}, f"requirements[1]: './pkg': {PACKAGE}"),
    ({"requirements": ["git+https://x/y"]}, f"requirements[0]: 'git+https://x/y': {PACKAGE}"),
    ({"requirements": ["a @ https://x/a.whl"]}, f"requirements[0]: 'a @ https://x/a.whl': {PACKAGE}"),
    ({"requirements": ["numpy==2"]}, f"requirements[0]: 'numpy==2': {PACKAGE}"),
    ({"code": ["../x.py"]}, f"code[0]: '../x.py': {IN_PROJECT}"),
    ({"code": ["a.py", "a/../../x.py"]}, f"code[1]: 'a/../../x.py': {IN_PROJECT}"),
    ({"code": [".podium/layout.json"]}, f"code[0]: '.podium/layout.json': {IN_PROJECT}"),
    ({"code": ["/etc/passwd"]}, f"code[0]: '/etc/passwd': {IN_PROJECT}"),
    ({"skops_trusted_types": "a.B"}, "skops_trusted_types: 'a.B': must be a list"),
    ({"schedule": "every monday"}, f"schedule: 'every monday': {CRON}"),
    ({"schedule": 5}, f"schedule: 5: {QUOTES}"),
    ({"schedule": "0 0 31 2 *"}, f"schedule: '0 0 31 2 *': {NEVER}"),
    ({"schedule": "0 0 31 4,6,9,11 *"}, f"schedule: '0 0 31 4,6,9,11 *': {NEVER}"),
    ({"schedule": "* * * * * *"}, f"schedule: '* * * * * *': {FIVE}"),
    ({"schedule": "0 0 1 1 * 0 1999"}, f"schedule: '0 0 1 1 * 0 1999': {FIVE}"),
    ({"schedule": "R 6 * * *"}, f"schedule: 'R 6 * * *': {BY_CHANCE}"),
    ({"schedule": f"0{',0' * 99} * * * *"}, f"schedule: '0{',0' * 39}...: {CRON}"),
    (
        {"scoring": {"source": "a", "output": "b", "schedule": "0 0 30 2 *"}},
        f"scoring.schedule: '0 0 30 2 *': {NEVER}",
    ),
    (
        {"champion_moved_outside": "accept"},
        "champion_moved_outside: 'accept': allowed: ask, revert",
    ),
    (
        {"retention": {"keep_versions": 20}},
        "retention.keep_versions: unknown key; did you mean 'versions'? allowed: ask_above, days, "
        "former_champions, live_answers, longest_run, quarantine_days, retired_days, trials, versions",
    ),
    (
        {"retention": {"versions": 0, "days": 0}},
        "retention.versions: 0: keeps nothing, since days is 0 too; one of the two must be above 0",
    ),
    ({"retention": {"former_champions": 0}}, "retention.former_champions: 0: must be at least 1"),
    ({"retention": {"quarantine_days": 0}}, "retention.quarantine_days: 0: must be at least 1"),
    ({"retention": {"live_answers": "90"}}, f"retention.live_answers: '90': {DURATION}"),
    ({"retention": {"longest_run": 30}}, f"retention.longest_run: 30: {DURATION}"),
    (
        {"retention": {"longest_run": "23h"}},
        "retention.longest_run: '23h': must be at least 1d: a model that was just logged has no version yet",
    ),
    ({"retention": {"trials": "best 0"}}, f"retention.trials: 'best 0': {BEST}"),
    ({"retention": {"trials": "worst 3"}}, f"retention.trials: 'worst 3': {BEST}"),
    ({"retention": {"trials": 3}}, f"retention.trials: 3: {BEST}"),
    (
        {"retention": {"ask_above": {"gigabytes": -1}}},
        "retention.ask_above.gigabytes: -1: must be at least 0",
    ),
    # gates
    ({"gates": []}, "gates: []: needs at least 1"),
    ({"gates": None}, "gates: null: must be a list"),
    ({"gates": 5}, "gates: 5: must be a list"),
    ({"gates": {"min_holdout_rows": 5}}, "gates: {...}: must be a list"),
    (
        {"gates": [{"min_holdout_rows": 5, "level": "advisory"}]},
        "gates: all are advisory, so nothing is judged; at least one must be required",
    ),
    # approval
    ({"approval": {}}, "approval.approvers: missing"),
    ({"approval": ["amy"]}, f"approval: ['amy']: must be a mapping; allowed keys: {APPROVAL_KEYS}"),
    (
        {"approval__checklst": ["x"]},
        f"approval.checklst: unknown key; did you mean 'checklist'? allowed: {APPROVAL_KEYS}",
    ),
    ({"approval__approvers": []}, "approval.approvers: []: needs at least 1"),
    ({"approval__approvers": "amy"}, "approval.approvers: 'amy': must be a list"),
    ({"approval__approvers": ["  "]}, "approval.approvers[0]: '  ': names nobody; write a login name"),
    (
        {"approval__approvers": [" Role: "]},
        "approval.approvers[0]: ' Role: ': names no role; write role:NAME",
    ),
    (
        {"approval__approvers": ["amy", "Amy "]},
        "approval.approvers: ['amy', 'Amy ']: each name once; 'amy' appears twice",
    ),
    ({"approval__approvers": [""]}, "approval.approvers[0]: '': must not be empty"),
    (
        {"approval__approvers": ["amy", "ben", "amy"]},
        "approval.approvers: ['amy', 'ben', 'amy']: each name once; 'amy' appears twice",
    ),
    (
        {"approval__approvers": ["role:op", "role:op"]},
        "approval.approvers: ['role:op', 'role:op']: each name once; 'role:op' appears twice",
    ),
    (
        {"approval__approvers": ["amy", "role:"]},
        "approval.approvers[1]: 'role:': names no role; write role:NAME",
    ),
    ({"approval__required": 0}, "approval.required: 0: must be at least 1"),
    ({"approval__required": 2}, "approval.required: 2: only 1 may approve (approval.approvers)"),
    (
        {"approval__required": 4, "approval__approvers": ["a", "b", "c"]},
        "approval.required: 4: only 3 may approve (approval.approvers)",
    ),
    (
        {"approval__prevent_self_approval": "perhaps"},
        "approval.prevent_self_approval: 'perhaps': must be true or false",
    ),
    ({"approval__prevent_self_approval": 0}, "approval.prevent_self_approval: 0: must be true or false"),
    (
        {"approval__prevent_self_approval": None},
        "approval.prevent_self_approval: null: must be true or false",
    ),
    ({"approval__reason_min_length": 0}, "approval.reason_min_length: 0: must be at least 1"),
    (
        {"approval__checklist": ["checked", "checked"]},
        "approval.checklist: ['checked', 'checked']: each statement once; 'checked' appears twice",
    ),
    ({"approval__checklist": [""]}, "approval.checklist[0]: '': must not be empty"),
    ({"approval__expires_after": "2 weeks"}, f"approval.expires_after: '2 weeks': {DURATION}"),
    ({"approval__expires_after": "0d"}, f"approval.expires_after: '0d': {DURATION}"),
    ({"approval__expires_after": "99999999999d"}, f"approval.expires_after: '99999999999d': {DURATION}"),
    ({"approval__expires_after": "366d"}, f"approval.expires_after: '366d': {DURATION}"),
    ({"approval__expires_after": 3}, f"approval.expires_after: 3: {DURATION}"),
    ({"approval__valid_for": "0h"}, f"approval.valid_for: '0h': {DURATION}"),
    ({"approval__valid_for": None}, f"approval.valid_for: null: {DURATION}"),
    (
        {"search": {**SEARCH, "trails": 2}},
        "search.trails: unknown key; did you mean 'trials'? allowed: metric, seed, space, trials, validation",
    ),
    ({"search": {**SEARCH, "trials": 0}}, "search.trials: 0: must be at least 1"),
    ({"search": {**SEARCH, "space": {}}}, "search.space: {}: needs at least 1"),
    ({"search": {**SEARCH, "validation": {}}}, "search.validation: give either days or share"),
    (
        {"search": {**SEARCH, "metric": "rmspe"}},
        "search.metric: 'rmspe': no metric of a classification; allowed: log_loss, brier_score, "
        "ranked_probability_score, accuracy, roc_auc, expected_calibration_error, and the scorers of "
        "scikit-learn",
    ),
    (
        {"search": {**SEARCH, "space": {"strenth": {"low": 0.1, "high": 2}}}},
        "search.space.strenth: has no value under params; did you mean 'strength'? allowed: strength",
    ),
    (space(low=0.1, hi=2), f"search.space.strength.hi: {DIMENSION}"),
    (space(low=0.1), "search.space.strength.high: missing"),
    (space(low=3, high=2), "search.space.strength.low: 3: must be less than high, which is 2"),
    (
        space(low=0, high=2, log=True),
        "search.space.strength.low: 0: must be greater than 0 on a logarithmic scale (log: true)",
    ),
    (
        space(type="int", low=0.5, high=2),
        "search.space.strength.low: 0.5: must be a whole number, as type is int",
    ),
    (
        space(type="integer", low=1, high=2),
        "search.space.strength.type: 'integer': did you mean 'int'? allowed: float, int, categorical",
    ),
    (space(low=1, high=2, choices=[1]), "search.space.strength.choices: [1]: only for type categorical"),
    (space(type="categorical", choices=["a"]), "search.space.strength.choices: ['a']: needs at least 2"),
    (
        space(type="categorical", choices=[1.0, 2.0, 1.0]),
        "search.space.strength.choices[2]: 1.0: each choice once",
    ),
    (
        space(low=2, high=3),
        "params.strength: 1.0: must be a number from 2 to 3, by search.space; it is the first that is tried",
    ),
    (
        space(type="categorical", choices=[1, 2]),
        "params.strength: 1.0: must be one of 1, 2, by search.space; it is the first that is tried",
    ),
    ({"profiles": {"ci": {}}}, "profiles: key 'ci': allowed: ci-smoke, smoke"),
    ({"profiles": {"smoke": None}}, f"profiles.smoke: null: must be a mapping; allowed keys: {PROFILE_KEYS}"),
    (profile(row=1), f"profiles.ci-smoke.row: unknown key; did you mean 'rows'? allowed: {PROFILE_KEYS}"),
    (profile(rows=2), "profiles.ci-smoke.rows: 2: must be at most 1"),
    (profile(rows=0), "profiles.ci-smoke.rows: 0: must be greater than 0"),
    (profile(trials=2), "profiles.ci-smoke.trials: 2: there is no search"),
    (profile(params={"x": 1}), "profiles.ci-smoke.params.x: 1: no such param; allowed: strength"),
    (profile(gates=[]), "profiles.ci-smoke.gates: []: needs at least 1"),
    (
        profile(gates=[{"min_holdout_rows": 5, "cost": "model_size"}]),
        "profiles.ci-smoke.gates[0].cost: is a kind of gate of its own, as min_holdout_rows is; make two "
        "gates of this one",
    ),
    (
        profile(gates=[{"min_holdout_rows": 5}, {"min_holdout_rows": 5}]),
        "profiles.ci-smoke.gates[1]: the same as gates[0]",
    ),
    (
        profile(gates=[{"min_holdout_rows": 5, "level": "advisory"}]),
        "profiles.ci-smoke.gates: all are advisory, so nothing is judged; at least one must be required",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_wrong_file_is_explained(toy_file: ToyFile, changes: dict[str, Any], message: str) -> None:
    path = toy_file(**changes)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert problem_without_line(path, caught.value) == message


NO_MAPPING = "line 1: a model file is a mapping of keys, starting with name: ..."
NO_YAML = "not a YAML file that can be read: "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", f"line 1: {NO_YAML}did not find expected node content"),
        (b"name: a\n b: c", f"line 2: {NO_YAML}mapping values are not allowed in this context (column 3)"),
        (
            b"\xff\xfe",
            f"line 1: {NO_YAML}'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (b"", NO_MAPPING),
        (b"- a", NO_MAPPING),
        (b"params: {since: 2024-02-30}", f"line 1: {NO_YAML}day is out of range for month (column 17)"),
        (b"name: a\nname: b", f"line 2: {NO_YAML}key 'name' twice (column 1)"),
        (b"data:\n  label: a\n  label: b", f"line 3: {NO_YAML}key 'label' twice (column 3)"),
        (b"? [a, b]\n: 5", f"line 1: {NO_YAML}found unhashable key (column 3)"),
        (b"a: " + b"[" * 1500, "line 1: nested too deeply; at most 50 levels are allowed"),
    ],
)
def test_a_file_that_is_no_mapping_is_explained(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_key_that_is_no_text_is_explained(toy_file: ToyFile) -> None:
    for key in ("5", "on"):
        path = toy_file()
        path.write_text(path.read_text() + f"{key}: x\n")
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        shown = {"on": "true"}.get(key, key)
        last = len(path.read_text().splitlines())
        assert str(caught.value) == f"{path}: line {last}: {shown}: unknown key; allowed: {TOP_KEYS}"


def test_a_model_that_is_trained_elsewhere_has_no_trainer_and_a_leak_gate() -> None:
    content = elsewhere_toy()
    assert ModelSpec.model_validate(content).training is not None
    leak = "must hold max_train_overlap, required: nobody here sees what another Dag trains on"
    advisory = [*content["gates"][:1], {"max_train_overlap": 0.0, "level": "advisory"}]
    for wrong, said in (
        ({"trainer": TOY["trainer"]}, "goes with trainer only; the Dag that trains has its own"),
        ({"params": {"depth": 3}}, "goes with trainer only; the Dag that trains has its own"),
        ({"gates": content["gates"][:1]}, leak),
        ({"gates": advisory}, leak),
    ):
        with pytest.raises(ValidationError, match=said):
            ModelSpec.model_validate({**content, **wrong})


def test_what_a_file_must_have(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("task: classification\ndata: {}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    needed = ["name", "owner", "description", "trainer"]
    columns = [f"data.{key}" for key in ("source", "label", "inputs")]
    assert caught.value.problems == (
        *(f"line 1: {key}: missing" for key in needed),
        "line 1: labels: []: a classification needs at least 2",
        *(f"line 2: {key}: missing" for key in columns),
        *(f"line 1: {key}: missing" for key in ("holdout", "requirements", "gates", "approval")),
    )


def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(SpecError, match=r"folder\.yaml: is not a regular file"):
        load_spec(tmp_path / "folder.yaml")


def test_all_problems_of_a_file_are_told_at_once(toy_file: ToyFile) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(toy_file(owner="", labels=[], nonsense=1, gates=[{"canary": {"days": "x", "dais": 1}}]))
    keys = [problem.split(": ")[1] for problem in caught.value.problems]
    assert keys == ["owner", "labels", "gates[0].canary.days", "gates[0].canary.dais", "nonsense"]


def test_one_wrong_file_stops_no_other(toy_file: ToyFile, tmp_path: Path) -> None:
    toy_file()
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    (tmp_path / "twin.yaml").write_text((tmp_path / "toy.yaml").read_text())
    specs, errors = load_specs(tmp_path)
    assert specs == {}
    assert [error.path.name for error in errors] == ["broken.yaml", "toy.yaml", "twin.yaml"]
    (tmp_path / "twin.yaml").unlink()
    assert list(load_specs(tmp_path)[0]) == ["toy"]


def test_an_unknown_model_is_explained(toy_file: ToyFile, tmp_path: Path) -> None:
    toy_file()
    with pytest.raises(NotFound, match=r"no model 'toi' in .*; available: toy"):
        find_spec(tmp_path, "toi")


def test_a_profile_replaces_what_it_names_and_a_param_of_it_is_not_searched(toy_file: ToyFile) -> None:
    said = {"params": {"strength": 2.0}, "trials": 2, "gates": [{"min_holdout_rows": 5}]}
    spec = load_spec(toy_file(search=SEARCH, **profile(**said), params={"strength": 1.0, "depth": 3}))
    less = spec.in_profile(Profile.CI_SMOKE)
    assert less.params == {"strength": 2.0, "depth": 3}
    assert less.search is None
    assert len(less.gates) == 1
    assert spec.in_profile(None) is spec


def test_a_tick_stands_for_a_statement_whatever_place_it_has() -> None:
    before = ApprovalSpec(approvers=("amy",), checklist=("I looked", "The owner was told"))
    after = ApprovalSpec(approvers=("amy",), checklist=("The owner was told", "Clients were told"))
    names = {text: name for name, text in before.ticks.items()}
    assert len(names) == 2
    assert after.ticks[names["The owner was told"]] == "The owner was told"
    assert names["I looked"] not in after.ticks
