"""The YAML of a model file: the line of each problem, and what no file can do to the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import SpecError
from podium.model_file.loading import load_spec, load_specs, load_specs_of
from podium.model_file.spec import ModelSpec
from support.odd_files import PIECES, SHIPPED, damaged, replaced, written

# Each wrong line says what is said of it; a line that has more to say says it in further lines.
WRONG = """\
# A comment counts.
name: My Model #! name: 'My Model': must be lower-case words
owner: tests
description: A toy.
trainer: support.toy_trainer:train
task: classification
labels:
  - no #! labels[0]: false: must be text: write it in quotes
  - "yes"
data:
  source: toy.csv
  time_column: day
  label: y
  inputs: [x, x] #! data.inputs: ['x', 'x']: each column once; 'x' appears twice
  label_map:
    1: "yes" #! data.label_map: key 1: must be text: write it in quotes
    y: #! data.label_map.y: null: must be text
      null
holdout: { days: 100, dais: 5 } #! holdout.dais: unknown key; did you mean 'days'? allowed: by, days, share
params: { strength: 1.0 }
requirements: [scikit-learn]
search: #! search.trials: missing
  metric: log_loss
  validation: { share: 0.2, by: "" } #! search.validation.by: '': must not be empty
  space:
    strength:
      low: 0.1
      hihg: 2 #! search.space.strength.hihg: unknown key; did you mean 'high'?
profiles:
  smoke: {}
  ci: {} #! profiles: key 'ci': allowed: ci-smoke, smoke
  off: #! profiles: key false: allowed: ci-smoke, smoke
    row: 1
  ci-smoke:
    gates:
      - min_holdout_rows: 5
        rows: 6 #! profiles.ci-smoke.gates[0].rows: unknown key; allowed: level, min_holdout_rows
gates:
  - min_holdout_rows: 50
  - metric: log_loss
    treshold: 1 #! gates[1].treshold: unknown key; did you mean 'threshold'?
  - { metric: log_loss,
      threshold: high, #! gates[2].threshold: 'high': must be a number
      level: advise } #! gates[2].level: 'advise': did you mean 'advisory'?
  - schema:
      schema:
        tipe: text #! gates[3].schema.schema.tipe: unknown key; did you mean 'type'?
      2024-01-01: {} #! gates[3].schema: key 2024-01-01: must be text: write it in quotes
  -
    metrc: log_loss #! gates[4]: no such kind of gate: metrc; did you mean 'metric'?
  - metric: log_loss #! gates[5]: against needs one of
    against: champion
  - canary: { live: { labelled_rows: 50 } } #! gates[6].canary.live.metric: missing
  - cost: throughput
    max_ratio: 1 #! gates[7].max_ratio: 1: not for throughput
  - label_coverage: ["no"]
    of: [model,
         modell] #! gates[8].of[1]: 'modell': did you mean 'model'?
approval:
  approvers: [amy]
  on: true #! approval.true: unknown key
compute: { cpu: 4 } #! compute.memory: missing
5: x #! 5: unknown key
"""


def test_each_problem_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    lines = WRONG.splitlines()
    expected = {
        f"line {number}: {said[1]}"
        for number, line in enumerate(lines, start=1)
        if (said := re.search("#! (.*)", line))
    }
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    problems = caught.value.problems
    assert [one for one in expected if not any(problem.startswith(one) for problem in problems)] == []
    assert [problem for problem in problems if not problem.startswith(tuple(expected))] == []


GOOD = """\
name: toy
owner: tests
description: A toy.
trainer: support.toy_trainer:train
task: classification
labels: ["no", "yes"]
data:
  source: toy.csv
  time_column: day
  label: y
  inputs: [x]
holdout: { days: 100 }
requirements: [scikit-learn]
gates:
  - min_holdout_rows: 50
approval:
  approvers: [amy]
"""


@pytest.mark.parametrize(
    ("written", "wrong", "said"),
    [
        ("  time_column: day\n", "", "line 11: holdout.days: 100: needs data.time_column"),
        ('task: classification\nlabels: ["no", "yes"]', "task: ranking", "line 6: data.group: missing"),
        ("[amy]", "[amy]\n  required: 2", "line 18: approval.required: 2: only 1 may approve"),
        ("[amy]", "\n    - amy\n    - 'role:'", "line 19: approval.approvers[1]: 'role:': names no role"),
        ("  - min", "  - level: advisory\n    min", "line 14: gates: all are advisory, so nothing is judged"),
        ("_rows: 50", "_rows: 50\n  - min_holdout_rows: 50", "line 16: gates[1]: the same as gates[0]"),
        (
            "_rows: 50",
            "_rows: 50\n  - canary:\n      live:\n        labelled_rows: 50\n        metric: rmspe",
            "line 19: gates[1].canary.live.metric: 'rmspe': is for regression",
        ),
        (
            "_rows: 50",
            '_rows: 50\n  - label_coverage:\n    - "no"\n    - maybe',
            "line 18: gates[1].label_coverage[1]: 'maybe': no such label",
        ),
        (
            "approval:",
            "profiles:\n  smoke:\n    params:\n      depth: 5\napproval:",
            "line 19: profiles.smoke.params.depth: 5: no such param; allowed: none",
        ),
        (
            "approval:",
            "profiles:\n  smoke:\n    gates:\n      - metric: rmspe\n        threshold: 1\napproval:",
            "line 19: profiles.smoke.gates[0].metric: 'rmspe': is for regression",
        ),
    ],
)
def test_what_two_keys_say_together_names_the_line_of_the_one_to_blame(
    tmp_path: Path, written: str, wrong: str, said: str
) -> None:
    assert load(tmp_path / "good.yaml", GOOD).name == "toy"
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "wrong.yaml", GOOD.replace(written, wrong))
    assert str(caught.value).startswith(f"{tmp_path / 'wrong.yaml'}: {said}")


def test_no_more_than_100_problems_of_a_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "data.yaml", GOOD + "".join(f"row{number}: x\n" for number in range(2_000)))
    *told, last = caught.value.problems
    assert len(told) == 100
    assert told[-1].startswith("line 117: row99: unknown key")
    assert last == "and 1900 more problems"


def test_a_name_that_is_taken_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(GOOD)
    (tmp_path / "second.yaml").write_text(f"# The same model.\n{GOOD}")
    specs, (error, other) = load_specs(tmp_path)
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    assert specs == {}
    told = "neither is loaded until one is left"
    assert str(error) == f"{first}: line 1: name: 'toy': is also the name in {second}; {told}"
    assert str(other) == f"{second}: line 2: name: 'toy': is also the name in {first}; {told}"


def test_a_file_with_mistakes_claims_its_name_too(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(GOOD)
    (tmp_path / "second.yaml").write_text(GOOD.replace("[scikit-learn]", "[-r x]"))
    (tmp_path / "third.yaml").write_text(GOOD.replace("name: toy", "name: third"))
    specs, errors = load_specs(tmp_path)
    assert list(specs) == ["third"]
    assert [error.path.name for error in errors] == ["first.yaml", "second.yaml"]


@pytest.mark.parametrize(
    ("written", "line", "said"),
    [
        ("&day day", 9, "anchor &day is not allowed; delete it"),
        ("*day", 9, "alias *day is not allowed; write the value out"),
        ("{ <<: { a: b } }", 9, "merge key << is not allowed; write its keys out"),
        ("!!str day", 9, "tag !!str is not allowed; delete it, and put text in quotes"),
        ("!include other.yaml", 9, "tag !include is not allowed"),
        ("=", 9, "a single = is not text in YAML; put it in quotes"),
        ('"d\\0y"', 9, "data.time_column: 'd\\x00y': delete the character '\\x00'; a text holds no"),
        ('"\\e[2J"', 9, "data.time_column: '\\x1b[2J': delete the character '\\x1b'"),
        ('"a\\rb"', 9, "data.time_column: 'a\\rb': delete the character '\\r'"),
        ('"\\ud800"', 9, "not a YAML file that can be read: found invalid Unicode character escape code"),
        ('{ "d\\ay": 1 }', 9, "data.time_column: key 'd\\x07y': delete the character '\\x07'"),
        ('[a, "\\x85"]', 9, "data.time_column[1]: '\\x85': delete the character '\\x85'"),
        ("d\ay", 9, "not a YAML file that can be read: delete the character '\\x07'"),
        ("d\udcffy", 9, "not a YAML file that can be read: 'utf-8' codec can't decode byte 0xff"),
        ("[" * 50, 9, "nested too deeply; at most 50 levels are allowed"),
        ("day\n---\nname: other", 10, "a second document begins (---)"),
        ('"day', 17, "not a YAML file that can be read: found unexpected end of stream, while scanning a"),
        ("[day", 10, "not a YAML file that can be read: did not find expected ',' or ']' (column 8), while"),
        ("9" * 5000, 9, "not a YAML file that can be read: not a number that can be read (column 16)"),
        ("0x" + "f" * 300, 9, "not a YAML file that can be read: the number is too large (column 16)"),
    ],
)
def test_what_no_model_file_may_have_is_refused_with_its_line(
    tmp_path: Path, written: str, line: int, said: str
) -> None:
    path = tmp_path / "wrong.yaml"
    text = GOOD.replace("time_column: day", f"time_column: {written}")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}: line {line}: {said}")


def test_what_was_never_closed_names_where_it_begins(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"while scanning a quoted scalar from line 9$"):
        load(tmp_path / "wrong.yaml", GOOD.replace("time_column: day", 'time_column: "day'))


def test_a_file_may_nest_50_levels_and_have_256_kb(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with pytest.raises(SpecError, match=r"line 10: data.label: .*: must be text"):
        load(path, GOOD.replace("label: y", f"label: {'[' * 48}{']' * 48}"))
    assert load(path, GOOD.ljust(256 * 1024, "#")).name == "toy"
    with pytest.raises(SpecError) as caught:
        load(path, GOOD.ljust(256 * 1024 + 1, "#"))
    assert str(caught.value) == f"{path}: is larger than 256 KB; keep data in files of their own"


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert load(tmp_path / "windows.yaml", "\ufeff" + GOOD.replace("\n", "\r\n")).name == "toy"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed") / "fuzzed.yaml"


# Python warns of some regular expressions.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(text=st.text() | PIECES | damaged())
def test_any_text_is_a_model_file_or_explained(fuzzed: Path, text: str) -> None:
    fuzzed.write_text(text, encoding="utf-8", errors="surrogatepass")
    read_or_explained(fuzzed)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(content=replaced())
def test_any_content_is_a_model_file_or_explained(fuzzed: Path, content: Any) -> None:
    fuzzed.write_text(written(content), encoding="utf-8", errors="surrogatepass")
    read_or_explained(fuzzed)


def read_or_explained(path: Path) -> None:
    _, errors = load_specs_of([path])
    problems = [problem for error in errors for problem in error.problems]
    assert [said for said in problems if not re.match(r"line [1-9][0-9]*: ", said)] == []


WITHOUT_LIBYAML = """
import sys
sys.modules["yaml._yaml"] = None
import yaml
assert not yaml.__with_libyaml__
from pathlib import Path
from podium.model_file.document import read_document
from podium.model_file.loading import load_specs
specs, errors = load_specs(Path(sys.argv[1]))
print(*specs)
print(*errors, sep="\\n")
"""


def test_without_libyaml_the_same_files_are_read(tmp_path: Path) -> None:
    for path in SHIPPED:
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "wrong.yaml").write_text(WRONG)
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 100_000)
    (tmp_path / "escape.yaml").write_text('a: "\\UFFFFFFFF"')
    (tmp_path / "surrogate.yaml").write_text('a: "\\ud800"')
    specs, errors = load_specs(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBYAML, str(tmp_path)], capture_output=True, text=True, check=True
    )
    names, *problems = done.stdout.splitlines()
    assert names.split() == list(specs)
    of_wrong = [line for line in problems if line.startswith(f"{tmp_path}/wrong.yaml")]
    assert of_wrong == next(str(error) for error in errors if error.path.name == "wrong.yaml").splitlines()
    for name in ("deep", "escape", "surrogate"):
        assert len([line for line in problems if line.startswith(f"{tmp_path}/{name}.yaml: ")]) == 1


def load(path: Path, text: str) -> ModelSpec:
    path.write_text(text)
    return load_spec(path)
