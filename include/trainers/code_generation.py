"""The model ``code-generation``: a causal language model that writes a function's body, fine-tuned with LoRA.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) trains small matrices beside the frozen weights of a
base model: one by name or folder, or ``tiny``, a randomly initialised one whose tokenizer is trained on the
examples, for trying things out. The examples are made in ``trainers.code_tasks``, the model that is saved is
``code_generation_script.py``. It runs on the CPU, or on a graphics card if there is one.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from pydantic import Field, StrictBool, StrictFloat, StrictInt

from podium.training import FromCode, Params, TrainedModel, TrainingExamples

try:
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        get_linear_schedule_with_warmup,
    )
    from transformers.utils.logging import disable_progress_bar
except ImportError as missing:
    raise ImportError(
        f"{missing}; this model needs requirements-llm.txt and requirements-torch.txt installed: `make llm`"
    ) from missing

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("code_generation_script.py")
TINY = "tiny"
_END = "<|end|>"
# The loss leaves these out.
_IGNORED = -100
SMALL_PARAMETERS = 10_000_000


class TrainerParams(Params):
    """What a model file may set under ``params``.

    Attributes:
        base_model: ``tiny``, a folder, or a name on the Hugging Face hub.
        base_revision: Of a name on the hub the commit; without it the newest one, whichever that is.
        seed: Of the weights, the order of the examples, and of sampling where a client names no other one.
        epochs: How often each example is seen.
        batch_size: Examples per step.
        learning_rate: The highest; it rises over the first tenth of the steps, then falls to zero.
        max_length: Tokens; longer examples are left out, counted.
        lora_rank: Rank of the trained matrices.
        lora_alpha: They count alpha / rank times.
        lora_dropout: Share of their inputs that is dropped while training.
        lora_target_modules: Which layers get them: ``all-linear``, or names with commas between.
        train_embeddings: Train the embeddings and the output layer too, whole: where they are new.
        merge_adapters: Add what was trained to the base's weights; else both are kept, and put together when
            the model is loaded.
        max_new_tokens: A client's default, as all below: the longest answer.
        do_sample: Draw each token; else the most probable one.
        temperature: Of drawing; below 1 the probable ones are drawn more often.
        top_p: Draw among the most probable tokens that have this probability together.
    """

    base_model: str = Field(default=TINY, min_length=1)
    base_revision: str = ""
    seed: StrictInt = Field(default=0, ge=0, lt=2**31)
    epochs: StrictInt = Field(default=12, ge=1)
    batch_size: StrictInt = Field(default=32, ge=1)
    learning_rate: StrictFloat = Field(default=0.01, gt=0)
    max_length: StrictInt = Field(default=512, ge=8)
    lora_rank: StrictInt = Field(default=16, ge=1)
    lora_alpha: StrictInt = Field(default=32, ge=1)
    lora_dropout: StrictFloat = Field(default=0.0, ge=0, lt=1)
    lora_target_modules: str = Field(default="all-linear", min_length=1)
    train_embeddings: StrictBool = False
    merge_adapters: StrictBool = True
    max_new_tokens: StrictInt = Field(default=64, ge=1)
    do_sample: StrictBool = False
    temperature: StrictFloat = Field(default=0.8, gt=0)
    top_p: StrictFloat = Field(default=0.95, gt=0, le=1)

    def generation(self) -> dict[str, Any]:
        """Return the params of ``predict`` with their defaults."""
        names = ("max_new_tokens", "do_sample", "temperature", "top_p", "seed")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Base:
    """What is fine-tuned."""

    model: Any
    tokenizer: Any


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fine-tune a base model on prompts and their solutions.

    Args:
        examples: Rows of ``task_examples`` from before the holdout.
        params: See ``TrainerParams``.

    Returns:
        The model, with the baseline ``base``, the same before the fine-tuning, and as metrics the mean loss
        of a token in the last epoch (nats), the trained parameters, and how many examples were too long.

    Raises:
        ValueError: Wrong params, a base that cannot be used, or no example that is short enough.
        OSError: The base could not be fetched.
    """
    settings = TrainerParams.parse(params)
    disable_progress_bar()
    prompts, solutions = examples.inputs.iloc[:, 0].tolist(), examples.label.tolist()
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        base = tiny_base(prompts, solutions) if settings.base_model == TINY else load_base(settings)
        untrained = _saved(settings, base)
        encoded = _encode(base, prompts, solutions, settings)
        tuned = _with_adapters(base, settings)
        with _own_threads(tuned):
            loss = _fit(tuned, encoded, settings)
    trained = sum(weights.numel() for weights in tuned.parameters() if weights.requires_grad)
    return TrainedModel(
        model=_tuned(settings, base, tuned, untrained),
        baselines={"base": untrained},
        metrics={
            "loss": loss,
            "trained_parameters": trained,
            "examples_too_long": len(prompts) - len(encoded),
        },
    )


def tiny_base(prompts: Sequence[str], solutions: Sequence[str]) -> Base:
    """Make a small, randomly initialised model, and a tokenizer of these texts."""
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=[_END], initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator([*prompts, *solutions], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=_END, pad_token=_END)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return Base(LlamaForCausalLM(config), tokenizer)


def load_base(settings: TrainerParams) -> Base:
    """Load a base model from a folder, or by its name on the hub; safetensors only, and none of its code.

    Raises:
        ValueError: There is no such folder, it holds no safetensors, or the tokenizer knows no end of a text.
        OSError: The hub did not answer, or has no such model.
    """
    name, folder = settings.base_model, Path(settings.base_model)
    if folder.is_absolute() or name.startswith("."):
        if not folder.is_dir():
            raise ValueError(f"params: base_model: there is no folder {folder}")
        if not list(folder.glob("*.safetensors")):
            raise ValueError(f"params: base_model: {folder} holds no weights as safetensors")
    where: dict[str, Any] = {
        "revision": settings.base_revision or "main",
        "local_files_only": folder.is_dir(),
        "trust_remote_code": False,
    }
    model = AutoModelForCausalLM.from_pretrained(name, use_safetensors=True, **where)
    tokenizer = AutoTokenizer.from_pretrained(name, **where)
    if tokenizer.eos_token_id is None:
        raise ValueError(f"params: base_model: the tokenizer of {name} has no token for the end of a text")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    commit = getattr(model.config, "_commit_hash", None)
    log.info("Base model %s%s.", name, f", commit {commit}" if commit else "")
    return Base(model, tokenizer)


def _encode(
    base: Base, prompts: Sequence[str], solutions: Sequence[str], settings: TrainerParams
) -> list[tuple[list[int], list[int]]]:
    """Return prompts and solutions as tokens; the solutions with the token of the end.

    Raises:
        ValueError: None is short enough.
    """
    context = getattr(base.model.config, "max_position_embeddings", None) or settings.max_length
    longest = min(settings.max_length, int(context))
    encoded = [
        (
            base.tokenizer(prompt)["input_ids"],
            [*base.tokenizer(solution, add_special_tokens=False)["input_ids"], base.tokenizer.eos_token_id],
        )
        for prompt, solution in zip(prompts, solutions, strict=True)
    ]
    short = [pair for pair in encoded if len(pair[0]) + len(pair[1]) <= longest]
    if not short:
        raise ValueError(
            f"all {len(encoded):,} examples have more than {longest:,} tokens; see params: max_length"
        )
    if len(short) < len(encoded):
        log.info("%s examples of more than %s tokens left out.", f"{len(encoded) - len(short):,}", longest)
    return short


def _with_adapters(base: Base, settings: TrainerParams) -> Any:
    modules = settings.lora_target_modules
    whole = None
    if settings.train_embeddings:
        layers = [base.model.get_input_embeddings(), base.model.get_output_embeddings()]
        whole = [
            name.rpartition(".")[2]
            for name, module in base.model.named_modules()
            if any(module is layer for layer in layers)
        ]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=modules if modules == "all-linear" else [name.strip() for name in modules.split(",")],
        modules_to_save=whole,
    )
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that is going away.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return get_peft_model(base.model, config)


def _fit(model: Any, encoded: Sequence[tuple[list[int], list[int]]], settings: TrainerParams) -> float:
    """Train the adapters; returns the mean loss of a solution's token in the last epoch, in nats."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=0.0)
    steps = settings.epochs * -(-len(encoded) // settings.batch_size)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    order = torch.Generator().manual_seed(settings.seed)
    start, loss = perf_counter(), float("nan")
    log.info(
        "Fine-tuning on %s examples, %s: %s parameters of %s, %s steps.",
        *(f"{len(encoded):,}", device, f"{sum(map(torch.numel, weights)):,}"),
        *(f"{sum(map(torch.numel, model.parameters())):,}", f"{steps:,}"),
    )
    for epoch in range(settings.epochs):
        shuffled = [encoded[place] for place in torch.randperm(len(encoded), generator=order).tolist()]
        summed = counted = 0.0
        for first in range(0, len(shuffled), settings.batch_size):
            batch = _tensors(shuffled[first : first + settings.batch_size], device)
            mean = model(**batch).loss
            optimizer.zero_grad()
            mean.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            tokens = int((batch["labels"] != _IGNORED).sum())
            summed, counted = summed + float(mean.detach()) * tokens, counted + tokens
        loss = summed / counted
        if (epoch + 1) % max(1, settings.epochs // 5) == 0 or epoch + 1 == settings.epochs:
            seconds = perf_counter() - start
            log.info("Epoch %s of %s: loss %.3f, %.0f s.", epoch + 1, settings.epochs, loss, seconds)
    return loss


@contextmanager
def _own_threads(model: Any) -> Iterator[None]:
    """Use one thread for a small model: on shared cores, several wait for each other more than they work."""
    before = torch.get_num_threads()
    if sum(weights.numel() for weights in model.parameters()) < SMALL_PARAMETERS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensors(batch: Sequence[tuple[list[int], list[int]]], device: str) -> dict[str, Any]:
    """Return a batch as the model takes it, (rows, longest) each; only solutions are learned, not prompts."""
    longest = max(len(before) + len(after) for before, after in batch)
    rows = [(longest - len(before) - len(after), before, after) for before, after in batch]
    return {
        "input_ids": torch.tensor([[*b, *a, *[0] * pad] for pad, b, a in rows], device=device),
        "attention_mask": torch.tensor(
            [[1] * (longest - pad) + [0] * pad for pad, _, _ in rows], device=device
        ),
        "labels": torch.tensor(
            [[*[_IGNORED] * len(b), *a, *[_IGNORED] * pad] for pad, b, a in rows], device=device
        ),
    }


def _tuned(settings: TrainerParams, base: Base, tuned: Any, untrained: FromCode) -> FromCode:
    tuned.to("cpu").eval()
    if settings.merge_adapters:
        return _saved(settings, Base(tuned.merge_and_unload(), base.tokenizer))
    return _saved(settings, base, adapters=tuned, untrained=Path(untrained.artifacts["model"]))


def _saved(settings: TrainerParams, base: Base, adapters: Any = None, untrained: Path = Path()) -> FromCode:
    """Write a model to files that live as long as it does.

    Adapters go with a copy of the base: what was approved is then all there, whatever a hub does.
    """
    folder = TemporaryDirectory(prefix="code-generation-")
    files = {name: Path(folder.name) / name for name in ("model", "defaults", "adapters")}
    defaults = settings.generation()
    files["defaults"].write_text(json.dumps(defaults), encoding="utf-8")
    if adapters is None:
        del files["adapters"]
        base.model.save_pretrained(files["model"])
        base.tokenizer.save_pretrained(files["model"])
    else:
        adapters.save_pretrained(str(files["adapters"]), save_embedding_layers=False)
        shutil.copytree(untrained, files["model"])
    model = FromCode(SCRIPT, files, signature=signature(defaults))
    weakref.finalize(model, folder.cleanup)
    return model


def signature(defaults: Mapping[str, Any]) -> ModelSignature:
    """Return what clients may ask: params with their defaults, answered by texts.

    Inputs are not described: of a DataFrame, a dict and a list MLflow would then let only one through to the
    model, which checks them itself.
    """
    types = {bool: "boolean", int: "long", float: "double"}
    params = [ParamSpec(name, types[type(value)], value) for name, value in defaults.items()]
    return ModelSignature(outputs=Schema([ColSpec("string")]), params=ParamSchema(params))
