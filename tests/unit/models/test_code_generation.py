"""The shipped model ``code-generation``, from a fine-tuning of seconds to a client's request."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import huggingface_hub
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from podium.errors import TrainerError
from podium.metrics.answers import Answers
from podium.metrics.measures import measure
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.settings import PROJECT_ROOT
from podium.training.examples import TrainingExamples
from podium.training.fit import answers_of
from podium.training.saving import save_model, usable
from podium.training.trainer import TrainedModel
from synthetic.code_tasks import code_tasks
from trainers.code_generation import TrainerParams, load_base, tiny_base, train
from trainers.code_tasks import task_examples

SPEC = load_spec(PROJECT_ROOT / "include" / "models" / "code_generation.yaml")
PROMPT = 'def plus(a, b):\n    """Return the sum of a and b."""\n'
QUICK: dict[str, Any] = {"epochs": 6, "train_embeddings": True, "max_new_tokens": 24, "learning_rate": 0.015}


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield


def part(rows: pd.DataFrame) -> TrainingExamples:
    rows = rows.dropna(subset=["canonical_solution"]).reset_index(drop=True)
    return TrainingExamples(
        inputs=rows[["prompt"]],
        label=rows["canonical_solution"],
        time=pd.Series(pd.NaT, index=rows.index, dtype="datetime64[ns]"),
        others=rows[["test", "entry_point"]],
    )


@pytest.fixture(scope="module")
def examples() -> tuple[TrainingExamples, TrainingExamples]:
    tasks = task_examples(code_tasks(500, 0))
    return part(tasks[40:]), part(tasks[:40])


@pytest.fixture(scope="module")
def trained(examples: tuple[TrainingExamples, TrainingExamples]) -> TrainedModel:
    return train(examples[0], QUICK)


@pytest.fixture(scope="module")
def few(examples: tuple[TrainingExamples, TrainingExamples]) -> TrainingExamples:
    return TrainingExamples(*(table[:40].reset_index(drop=True) for table in vars(examples[0]).values()))


@pytest.fixture(scope="module")
def apart(few: TrainingExamples) -> TrainedModel:
    """With the adapters kept apart."""
    return train(few, {**QUICK, "merge_adapters": False})


def loaded(model: TrainedModel, spec: ModelSpec, folder: Path) -> PyFuncModel:
    with usable(model.model, classifies=False, requirements=["torch"]) as ready:
        save_model(folder, ready, pd.DataFrame({"prompt": [PROMPT]}), ["torch"], spec.skops_trusted_types)
    found = mlflow.pyfunc.load_model(str(folder))
    assert isinstance(found, PyFuncModel)
    return found


@pytest.fixture(scope="module")
def client(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> PyFuncModel:
    return loaded(trained, SPEC, tmp_path_factory.mktemp("code") / "model")


def test_fine_tuning_makes_functions_that_work(
    trained: TrainedModel, examples: tuple[TrainingExamples, TrainingExamples]
) -> None:
    found: dict[str, Answers] = {}
    with ExitStack() as held:
        for name, model in (("tuned", trained.model), ("base", trained.baselines["base"])):
            ready = held.enter_context(usable(model, classifies=False, requirements=["torch"]))
            found[name] = answers_of(SPEC, ready, examples[1])
    assert measure("pass_rate", found["tuned"]) > 0.3
    assert measure("pass_rate", found["base"]) == 0.0
    assert measure("perplexity", found["tuned"]) < 2 < 100 < measure("perplexity", found["base"])
    assert measure("bits_per_byte", found["tuned"]) < 0.5 < 2 < measure("bits_per_byte", found["base"])
    assert trained.metrics["loss"] < 1
    assert trained.metrics["examples_too_long"] == 0


@pytest.mark.parametrize(
    "given",
    [
        [PROMPT, PROMPT],
        {"prompt": [PROMPT, PROMPT]},
        {"prompt": np.array([PROMPT, PROMPT])},
        pd.DataFrame({"number": [1, 2], "prompt": [PROMPT, PROMPT]}),
        pd.Series([PROMPT, PROMPT]),
    ],
)
def test_prompts_come_in_any_form(client: PyFuncModel, given: Any) -> None:
    once = client.predict({"prompt": PROMPT})
    assert len(once) == 1
    assert client.predict(given) == once * 2


def test_no_prompts_get_no_answers(client: PyFuncModel) -> None:
    assert client.predict([]) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([PROMPT, ""], "prompt 1 is empty"),
        ([" \n"], "prompt 0 is empty"),
        ([PROMPT, 3], "prompt 1 must be text, not int"),
        ([None], "prompt 0 must be text, not NoneType"),
        ({"prompt": [PROMPT, None]}, "prompt 1 must be text"),
        ({"prompts": [PROMPT]}, "the key 'prompt' alone, not ['prompts']"),
        ({"prompt": PROMPT, "params": {}}, "the key 'prompt' alone, not ['params', 'prompt']"),
        (pd.DataFrame({"text": [PROMPT]}), "no column 'prompt'; available: text"),
        (PROMPT, "a DataFrame, a dict or a list of prompts is needed, not str"),
        (3, "is needed, not int"),
    ],
)
def test_wrong_input_is_named(client: PyFuncModel, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        client.predict(given)


def test_params_have_defaults_and_are_checked(client: PyFuncModel) -> None:
    schema = client.metadata.get_params_schema()
    assert {param.name: param.default for param in schema.params} == {
        "max_new_tokens": 24,
        "do_sample": False,
        "temperature": 0.8,
        "top_p": 0.95,
        "seed": 0,
    }
    for params, message in (
        ({"max_new_tokens": 0}, "max_new_tokens: must be at least 1, not 0"),
        ({"max_new_tokens": 4096}, "together more than the model's context of 4,096"),
        ({"temperature": 0.0}, "temperature: must be more than 0"),
        ({"top_p": 1.5}, "top_p: must be more than 0, at most 1, not 1.5"),
        ({"seed": -1}, "seed: must be at least 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            client.predict([PROMPT], params=params)
    with pytest.raises(MlflowException, match="max_new_tokens"):
        client.predict([PROMPT], params={"max_new_tokens": "many"})
    with pytest.raises(ValueError, match="unknown params: beams; available: do_sample, max_new_tokens"):
        client.unwrap_python_model().predict(None, [PROMPT], {"beams": 3})


def test_sampling_is_repeatable_by_its_seed(client: PyFuncModel) -> None:
    wild = {"do_sample": True, "temperature": 3.0}
    state = torch.random.get_rng_state()
    first = client.predict([PROMPT], params={**wild, "seed": 1})
    assert client.predict([PROMPT], params={**wild, "seed": 1}) == first
    assert client.predict([PROMPT], params={**wild, "seed": 2}) != first
    assert torch.equal(torch.random.get_rng_state(), state)


def test_fewer_tokens_are_a_shorter_answer(client: PyFuncModel) -> None:
    assert len(client.predict([PROMPT], params={"max_new_tokens": 1})[0]) < len(client.predict([PROMPT])[0])


def test_the_likelihood_is_that_of_the_text_alone(client: PyFuncModel, trained: TrainedModel) -> None:
    folder = trained.model.artifacts["model"]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = ["    return a + b\n", "    return len(sorted(a)) * 2 - b\n"]
    found = client.unwrap_python_model().log_likelihood([PROMPT, PROMPT], texts)
    for text, (nats, tokens) in zip(texts, found, strict=True):
        before = tokenizer(PROMPT)["input_ids"]
        after = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(before) + after])
        loss = model(input_ids=torch.tensor([before + after]), labels=labels).loss.detach()
        assert tokens == len(after)
        assert math.isclose(nats, float(loss) * len(after), rel_tol=1e-4)


def test_a_prompt_that_is_longer_than_the_context_loses_its_beginning(client: PyFuncModel) -> None:
    long = "# a comment\n" * 3000 + PROMPT
    found = client.unwrap_python_model().log_likelihood([long], ["    return a + b\n"])
    assert np.isfinite(found).all()


def test_adapters_that_are_kept_apart_answer_as_merged_ones(
    few: TrainingExamples, apart: TrainedModel, tmp_path: Path
) -> None:
    merged = train(few, QUICK)
    client = loaded(merged, SPEC, tmp_path / "merged")
    assert set(apart.model.artifacts) == {"model", "adapters", "defaults"}
    other = loaded(apart, SPEC, tmp_path / "model")
    texts = ["    return a + b\n"]
    one, two = (model.unwrap_python_model().log_likelihood([PROMPT], texts) for model in (client, other))
    np.testing.assert_allclose(one, two, rtol=1e-3)
    assert other.predict([PROMPT]) == client.predict([PROMPT])
    base = merged.baselines["base"].artifacts["model"] / "model.safetensors"
    kept = apart.model.artifacts["model"] / "model.safetensors"
    assert base.read_bytes() == kept.read_bytes()


def test_only_safetensors_are_saved_and_read(apart: TrainedModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    loaded(apart, SPEC, folder)
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert not kinds & {".bin", ".pt", ".pth", ".pkl", ".pickle"}
    (folder / "artifacts" / "adapters" / "adapter_model.safetensors").rename(
        folder / "artifacts" / "adapters" / "adapter_model.bin"
    )
    with pytest.raises(ValueError, match="adapters: no weights as safetensors"):
        mlflow.pyfunc.load_model(str(folder))


def test_equal_seeds_make_equal_weights(few: TrainingExamples) -> None:
    weights = {
        seed: [
            (made.model.artifacts["model"] / "model.safetensors").read_bytes()
            for made in (train(few, {"epochs": 1, "seed": seed}), train(few, {"epochs": 1, "seed": seed}))
        ]
        for seed in (0, 1)
    }
    assert weights[0][0] == weights[0][1]
    assert weights[0][0] != weights[1][0]


def test_a_base_is_loaded_from_a_folder(trained: TrainedModel, few: TrainingExamples) -> None:
    """What was fine-tuned before is a base like any other; with adapters on some of its layers."""
    folder = str(trained.model.artifacts["model"])
    asked = {
        "base_model": folder,
        "epochs": 1,
        "learning_rate": 1e-5,
        "lora_target_modules": "q_proj, v_proj",
    }
    again = train(few, {**asked, "merge_adapters": False})
    config = json.loads((again.model.artifacts["adapters"] / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == ["q_proj", "v_proj"]
    assert again.metrics["loss"] < 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"base_model": "/no/such/folder"}, "base_model: there is no folder /no/such/folder"),
        ({"base_model": "./here"}, "base_model: there is no folder here"),
        ({"max_length": 8}, "all 40 examples have more than 8 tokens; see params: max_length"),
        ({"lora_target_modules": "nonsense"}, "nonsense"),
    ],
)
def test_wrong_bases_and_lengths_are_named(
    params: dict[str, Any], message: str, few: TrainingExamples
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        train(few, {"epochs": 1, **params})


def test_a_name_is_looked_up_at_the_hub_and_nothing_but_safetensors_is_taken(tmp_path: Path) -> None:
    # Without a network it comes as far as the hub's door.
    with pytest.raises(OSError, match=r"connect to 'https://huggingface.co'|offline"):
        load_base(TrainerParams(base_model="no-such-organisation/no-such-model"))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="holds no weights as safetensors"):
        load_base(TrainerParams(base_model=str(tmp_path)))


def test_too_long_examples_are_counted(few: TrainingExamples) -> None:
    prompts = pd.DataFrame({"prompt": ["# long\n" * 300, *few.inputs["prompt"][1:]]})
    longer = TrainingExamples(prompts, few.label, few.time)
    made = train(longer, {"epochs": 1, "max_length": 128})
    assert made.metrics["examples_too_long"] == 1


def test_the_tokenizer_of_tiny_knows_any_text() -> None:
    tokenizer = tiny_base([PROMPT], ["    return a + b\n"]).tokenizer
    text = "naïve → 日本語 🐞\r\n\t"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rank": 8}, "params.rank: unknown key"),
        ({"lora_rank": 0}, "params.lora_rank"),
        ({"learning_rate": 0.0}, "params.learning_rate"),
        ({"top_p": 1.1}, "params.top_p"),
        ({"merge_adapters": "yes"}, "params.merge_adapters"),
    ],
)
def test_wrong_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainerError, match=re.escape(message)):
        TrainerParams.parse(params)


def test_the_model_file_names_every_param() -> None:
    assert set(SPEC.params) == set(TrainerParams.model_fields)
    assert TrainerParams.parse(SPEC.params) == TrainerParams(train_embeddings=True)


def test_what_to_install_is_said() -> None:
    program = "import sys; sys.modules['torch'] = None; import trainers.code_generation"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT_ROOT / "include",
    )
    assert "needs requirements-llm.txt and requirements-torch.txt installed: `make llm`" in ran.stderr
