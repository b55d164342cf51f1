"""Delta tables as other writers leave them: deletion vectors, mapped columns, features of other readers.

deltalake writes none of these, so its log is written on here, as the protocol of Delta says.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def require(table: Path, features: Sequence[str]) -> None:
    """Say that readers of a new table must know these features."""
    _write(table, _log(table), features)


def delete_by_vector(table: Path, rows: Sequence[int]) -> None:
    """Delete rows of the one file of a new table, as Spark does: the file stays, and a bitmap marks them."""
    add = _add(table)
    bitmap = _bitmap(rows)
    stats = json.dumps({**json.loads(add["stats"]), "tightBounds": False})
    vector = {
        "storageType": "i",
        "pathOrInlineDv": _z85(bitmap),
        "sizeInBytes": len(bitmap),
        "cardinality": len(rows),
    }
    remove = {key: add[key] for key in ("path", "partitionValues", "size")}
    version = [
        _protocol(["deletionVectors", "timestampNtz"]),
        {"remove": {**remove, "deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True}},
        {"add": {**add, "stats": stats, "deletionVector": vector}},
    ]
    (table / "_delta_log" / f"{1:020}.json").write_text(_lines(version))


def rename_columns(table: Path, names: Mapping[str, str]) -> None:
    """Rename columns of a new table, as Spark does: the files keep the names that they have."""
    lines = _log(table)
    for line in lines:
        if "metaData" in line:
            schema = json.loads(line["metaData"]["schemaString"])
            for place, one in enumerate(schema["fields"], 1):
                said = {"delta.columnMapping.id": place, "delta.columnMapping.physicalName": one["name"]}
                one |= {"metadata": said, "name": names.get(one["name"], one["name"])}
            line["metaData"] |= {
                "schemaString": json.dumps(schema),
                "configuration": {
                    "delta.columnMapping.mode": "name",
                    "delta.columnMapping.maxColumnId": str(len(schema["fields"])),
                },
            }
    _write(table, lines, ["columnMapping", "timestampNtz"])


def _protocol(features: Sequence[str]) -> dict[str, Any]:
    both = {"readerFeatures": list(features), "writerFeatures": list(features)}
    return {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **both}}


def _add(table: Path) -> dict[str, Any]:
    (add,) = (line["add"] for line in _log(table) if "add" in line)
    return dict(add)


def _log(table: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _first(table).read_text().splitlines()]


def _write(table: Path, lines: Sequence[Mapping[str, Any]], features: Sequence[str]) -> None:
    others = [line for line in lines if "protocol" not in line]
    _first(table).write_text(_lines([_protocol(features), *others]))


def _first(table: Path) -> Path:
    return table / "_delta_log" / f"{0:020}.json"


def _lines(lines: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def _bitmap(rows: Sequence[int]) -> bytes:
    """Return row numbers below 65,536 as Delta's array of one roaring bitmap."""
    container = struct.pack("<HHI", 0, len(rows) - 1, 16) + struct.pack(f"<{len(rows)}H", *rows)
    return struct.pack("<IQIII", 1681511377, 1, 0, 12346, 1) + container


def _z85(data: bytes) -> str:
    text = ""
    for (word,) in struct.iter_unpack(">I", data + b"\0" * (-len(data) % 4)):
        letters = ""
        for _ in range(5):
            word, rest = divmod(word, 85)
            letters = _Z85[rest] + letters
        text += letters
    return text
