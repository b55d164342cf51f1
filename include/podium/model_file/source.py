"""What a model file may name as a source of rows: files, ``s3://``, a query or a Delta table."""

from __future__ import annotations

import re
from pathlib import Path

SQL = "sql:"
DELTA = "delta:"
S3 = "s3://"
# The moment before which a training sees the world, in a query.
AS_OF = "as_of"
SUFFIXES = (".csv", ".csv.gz", ".parquet")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# What a file of another kind looks like, and a folder such as `2026.v1`; one such as `2026.11` does not.
_WITH_SUFFIX = re.compile(r"[^/]\.[A-Za-z]\w*$")
_WILD = re.compile(r"[*?\[]")
_PASSWORD = re.compile(r"(://[^\s/@:]*:)[^\s/@]+@")
# As SQLAlchemy finds parameters in a text, and what a database does not read as part of the query.
_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
_NO_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)


def check_no_password(source: str) -> str:
    """Refuse a source with a password: everybody who may read the model file would have it."""
    if _PASSWORD.search(source):
        raise ValueError(
            "holds a password; credentials come from the environment, a database's URL from the variable "
            "that the key database names"
        )
    return source


def without_passwords(text: str) -> str:
    """Return a text that may be shown: passwords in URLs are starred."""
    return _PASSWORD.sub(r"\1***@", text)


def check_source(source: str, home: Path) -> str:
    """Refuse what training cannot read: another scheme, a file of another kind, a query without a text."""
    check_no_password(source)
    for scheme, what in ((SQL, "a query"), (DELTA, "a path"), (S3, "a bucket")):
        if source.startswith(scheme):
            if not source.removeprefix(scheme).strip():
                raise ValueError(f"{scheme} needs {what} behind it")
            return source
    return check_file(source, home)


def check_file(source: str, home: Path) -> str:
    """Refuse what is no file, folder or pattern below the project's top folder."""
    if scheme := _SCHEME.match(source):
        raise ValueError(
            f"no training reads {scheme[0]}; allowed are a file ({', '.join(SUFFIXES)}), a folder or "
            f"pattern, and for data.source also {S3}, {SQL} and {DELTA}"
        )
    odd = _WITH_SUFFIX.search(source) and not source.endswith(SUFFIXES) and not _WILD.search(source)
    if odd and not (home / source).is_dir():
        raise ValueError(f"must be a file that ends in {', '.join(SUFFIXES)}, or a folder that exists")
    return source


def asks_as_of(source: str) -> bool:
    """Tell whether a query compares with ``:as_of``; a comment or a text does not count."""
    return AS_OF in _PARAMETER.findall(_NO_CODE.sub(" ", source.removeprefix(SQL)))


def other_parameters(source: str) -> list[str]:
    """Return the parameters of a query for which a training has no value."""
    return sorted({name for name in _PARAMETER.findall(source.removeprefix(SQL)) if name != AS_OF})
