"""The model ``code-generation`` as it is loaded: a causal language model. It needs no Podium."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

BATCH = 16
SMALL_PARAMETERS = 10_000_000
PROMPT = "prompt"


class CodeGenerator(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Continues prompts with code, to the end of the function that they begin.

    ``predict`` takes a DataFrame with the column ``prompt``, a dict ``{"prompt": text or texts}`` or a list
    of prompts, and answers with a list of texts, one per prompt. Its params and their defaults are in the
    model's signature; sampling is repeatable by ``seed``.
    """

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Read tokenizer, weights and, where they were not merged, adapters; nothing but safetensors."""
        disable_progress_bar()
        files = context.artifacts
        self._defaults: dict[str, Any] = json.loads(Path(files["defaults"]).read_text(encoding="utf-8"))
        for name in ("model", "adapters"):
            if name in files and not list(Path(files[name]).glob("*.safetensors")):
                raise ValueError(f"{name}: no weights as safetensors; other formats are not read")
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self._tokenizer = AutoTokenizer.from_pretrained(files["model"], padding_side="left", **local)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        model = AutoModelForCausalLM.from_pretrained(files["model"], use_safetensors=True, **local)
        if "adapters" in files:
            with warnings.catch_warnings():
                # PEFT asks transformers by a name that is going away.
                warnings.filterwarnings(
                    "ignore", message=".*is_gradient_checkpointing", category=FutureWarning
                )
                model = PeftModel.from_pretrained(model, files["adapters"])
        self._model = model.to(self._device).eval()
        self._context = int(getattr(model.config, "max_position_embeddings", 0)) or None
        self._end = int(self._tokenizer.eos_token_id)

    # To MLflow the type means that the input is handed on as it is; see prompts_of.
    def predict(
        self,
        context: Any,  # noqa: ARG002 - MLflow's
        model_input: pd.DataFrame,
        params: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Return what the model writes after each prompt.

        Raises:
            ValueError: A prompt is empty or no text, a param is unknown or out of range, or prompt and new
                tokens are more than the model's context.
        """
        prompts, asked = prompts_of(model_input), self._params(params or {})
        encoded = [self._tokenizer(prompt)["input_ids"] for prompt in prompts]
        self._check_length(encoded, asked["max_new_tokens"])
        sampling = {name: asked[name] for name in ("temperature", "top_p")} if asked["do_sample"] else {}
        written: list[str] = []
        with torch.inference_mode(), torch.random.fork_rng(), _own_threads(self._model):
            torch.manual_seed(asked["seed"])
            for batch in _batches(encoded):
                padded = self._tokenizer.pad({"input_ids": batch}, return_tensors="pt").to(self._device)
                tokens = self._model.generate(
                    input_ids=padded["input_ids"],
                    attention_mask=padded["attention_mask"],
                    max_new_tokens=asked["max_new_tokens"],
                    do_sample=asked["do_sample"],
                    pad_token_id=self._tokenizer.pad_token_id,
                    top_k=0 if asked["do_sample"] else None,
                    **sampling,
                )
                new = tokens[:, padded["input_ids"].shape[1] :]
                written += self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [function_body(text) for text in written]

    def log_likelihood(self, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Return what each text takes after its prompt, its end included; (rows, 2): nats and tokens.

        A prompt that does not fit into the context before its text loses its beginning.
        """
        rows = []
        for prompt, text in zip(prompts, texts, strict=True):
            before = self._tokenizer(prompt)["input_ids"]
            after = [*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._end]
            room = len(before) if self._context is None else max(1, self._context - len(after))
            rows.append((before[-room:], after))
        found = []
        with torch.inference_mode(), _own_threads(self._model):
            for batch in _batches(rows):
                found += self._likelihoods(batch)
        return np.asarray(found, dtype=np.float64).reshape(len(rows), 2)

    def _likelihoods(self, batch: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, int]]:
        longest = max(len(before) + len(after) for before, after in batch)
        tokens = torch.full((len(batch), longest), self._end, device=self._device)
        mask = torch.zeros_like(tokens)
        for place, (before, after) in enumerate(batch):
            whole = [*before, *after]
            tokens[place, : len(whole)] = torch.tensor(whole, device=self._device)
            mask[place, : len(whole)] = 1
        logits = self._model(input_ids=tokens, attention_mask=mask).logits.float()
        each = torch.log_softmax(logits[:, :-1], dim=-1).gather(2, tokens[:, 1:, None])[..., 0]
        return [
            (-float(each[place, len(before) - 1 : len(before) + len(after) - 1].double().sum()), len(after))
            for place, (before, after) in enumerate(batch)
        ]

    def _params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(params) - set(self._defaults)):
            raise ValueError(
                f"unknown params: {', '.join(unknown)}; available: {', '.join(sorted(self._defaults))}"
            )
        asked = {**self._defaults, **params}
        for name, holds, rule in (
            ("max_new_tokens", asked["max_new_tokens"] >= 1, "at least 1"),
            ("temperature", asked["temperature"] > 0, "more than 0 (not to draw at all is do_sample: false)"),
            ("top_p", 0 < asked["top_p"] <= 1, "more than 0, at most 1"),
            ("seed", asked["seed"] >= 0, "at least 0"),
        ):
            if not holds:
                raise ValueError(f"params: {name}: must be {rule}, not {asked[name]}")
        return {**asked, "do_sample": bool(asked["do_sample"])}

    def _check_length(self, encoded: Sequence[Sequence[int]], new: int) -> None:
        longest = max(map(len, encoded), default=0)
        if self._context is not None and longest + new > self._context:
            row = next(place for place, tokens in enumerate(encoded) if len(tokens) == longest)
            raise ValueError(
                f"prompt {row} has {longest:,} tokens and max_new_tokens is {new:,}: together more than the "
                f"model's context of {self._context:,}"
            )


def prompts_of(model_input: Any) -> list[str]:
    """Return the prompts of any input that ``predict`` takes.

    Raises:
        ValueError: It is none, or a prompt is empty or no text; says which.
    """
    prompts = model_input
    if isinstance(model_input, pd.DataFrame):
        if PROMPT not in model_input:
            there = ", ".join(map(str, model_input.columns)) or "none"
            raise ValueError(f"the input has no column '{PROMPT}'; available: {there}")
        prompts = model_input[PROMPT].tolist()
    elif isinstance(model_input, Mapping):
        if set(model_input) != {PROMPT}:
            raise ValueError(
                f"the input must have the key '{PROMPT}' alone, not {sorted(map(str, model_input))}"
            )
        prompts = model_input[PROMPT]
        prompts = [prompts] if isinstance(prompts, str) else prompts
    if isinstance(prompts, np.ndarray | pd.Series):
        prompts = np.atleast_1d(np.asarray(prompts)).tolist()
    if not isinstance(prompts, list | tuple):
        kind = type(prompts).__name__
        raise ValueError(f"a DataFrame, a dict or a list of prompts is needed, not {kind}")
    for row, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise ValueError(f"prompt {row} must be text, not {type(prompt).__name__}")
        if not prompt.strip():
            raise ValueError(f"prompt {row} is empty")
    return list(prompts)


def function_body(text: str) -> str:
    """Cut what comes after a function: from the first line on that is not indented."""
    lines = text.split("\n")
    end = next(
        (place for place, line in enumerate(lines) if place and line and not line[0].isspace()), len(lines)
    )
    return "\n".join(lines[:end]).rstrip() + "\n"


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


def _batches(rows: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(rows), BATCH):
        yield list(rows[start : start + BATCH])


mlflow.models.set_model(CodeGenerator())
