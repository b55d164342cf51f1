"""Packages beyond requirements.txt that models may need, and the command that installs each."""

from __future__ import annotations

# By the names of modules and of packages, the file requirements-NAME.txt.
_EXTRAS = {
    **dict.fromkeys(("catboost", "lightgbm", "xgboost", "xgboost-cpu"), "boost"),
    **dict.fromkeys(("onnx", "onnxruntime", "skl2onnx", "onnxscript"), "onnx"),
    **dict.fromkeys(("transformers", "peft", "tokenizers"), "llm"),
    "deltalake": "delta",
    "keras": "keras",
    "statsmodels": "statsmodels",
    "torch": "torch",
}


def how_to_install(name: str | None) -> str:
    """Return the command that installs a module or package, as the end of a message; "" of an unknown one."""
    extra = _EXTRAS.get((name or "").partition(".")[0])
    return f". Install it: `.venv/bin/uv pip install -r requirements-{extra}.txt`" if extra else ""
