"""Manifests that are small on disk and huge in memory, or deep, wide, cut, locked: `bombs(folder)` writes them all."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}


def table(rows: int = 2, **more: object) -> pa.Table:
    """A good manifest with more columns."""
    columns = {name: [f"{n}{value}" for n in range(rows)] for name, value in GOOD.items()}
    return pa.table({**columns, **more})


def repeated_text(path: Path, megabytes: int = 2, rows: int = 500_000) -> None:
    """One long text, stored once, in every row: dictionary encoding makes terabytes of it."""
    index = pa.array(np.zeros(rows, np.int32))
    text = pa.DictionaryArray.from_arrays(index, pa.array(["x" * (megabytes << 20)]))
    few = {name: pa.DictionaryArray.from_arrays(index, pa.array([value])) for name, value in GOOD.items()}
    pq.write_table(pa.table({**few, "id": text}), path, row_group_size=rows)


def squeezed_text(path: Path, megabytes: int = 400) -> None:
    """Distinct texts of 10 MB of the same letter: compression makes nothing of them."""
    texts = pa.array([f"{n:06}" + "x" * (10 << 20) for n in range(2)])
    with pq.ParquetWriter(path, pa.schema([("video", pa.string())]), compression="zstd", use_dictionary=False) as out:
        for _ in range(megabytes // 20):
            out.write_table(pa.table({"video": texts}))


def one_row_group(path: Path, rows: int = 5_000_000) -> None:
    """More rows than a manifest may have, in one group, of nothing but null."""
    pq.write_table(pa.table({"video": pa.nulls(rows, pa.string())}), path, row_group_size=rows)


def many_columns(path: Path, columns: int = 10_000) -> None:
    """Ten thousand columns."""
    pq.write_table(table(1, **{f"c{n}": ["x"] for n in range(columns)}), path)


def deep_column(path: Path, depth: int = 200) -> None:
    """A column of lists in lists."""
    kind: pa.DataType = pa.string()
    value: object = "x"
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    pq.write_table(table(1, id=pa.array([value], kind)), path)


def long_list(path: Path, items: int = 5_000_000) -> None:
    """One cell with five million numbers."""
    values = pa.array(np.zeros(items, np.int64))
    cell = pa.LargeListArray.from_arrays(pa.array([0, items], pa.int64()), values)
    pq.write_table(table(1, pads=cell), path)


def locked(path: Path) -> None:
    """An encrypted manifest whose key nobody has."""

    class Client(pe.KmsClient):
        def wrap_key(self, key: bytes, _: str) -> str:
            return key.hex()

        def unwrap_key(self, wrapped: str, _: str) -> bytes:
            return bytes.fromhex(wrapped)

    factory = pe.CryptoFactory(lambda _: Client())
    config = pe.EncryptionConfiguration(footer_key="k", column_keys={"k": list(GOOD)})
    keys = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    with pq.ParquetWriter(path, table().schema, encryption_properties=keys) as out:
        out.write_table(table())


def footer(path: Path, length: int) -> None:
    """A good manifest whose footer says that it is `length` bytes long."""
    pq.write_table(table(), path)
    data = path.read_bytes()
    path.write_bytes(data[:-8] + struct.pack("<I", length) + b"PAR1")


def parquet_bombs() -> dict[str, Callable[[Path], None]]:
    """Name to writer."""
    return {
        "repeated_text": repeated_text,
        "squeezed_text": squeezed_text,
        "one_row_group": one_row_group,
        "many_columns": many_columns,
        "deep_column": deep_column,
        "long_list": long_list,
        "locked": locked,
        "footer_vast": lambda path: footer(path, 0xFFFFFFFF),
        "footer_none": lambda path: footer(path, 0),
        "footer_of_zeros": lambda path: _zeros(path),
    }


def _zeros(path: Path) -> None:
    path.write_bytes(b"PAR1" + bytes(1 << 20) + struct.pack("<I", 1 << 20) + b"PAR1")


def line_bombs() -> dict[str, bytes]:
    """Name to a JSON line that is no good row. The first of a file that goes on with a good one."""
    good = json.dumps(GOOD)
    return {
        "long_line": b'{"id": "' + b"x" * (64 << 20) + b'"}',
        "long_spaces": b" " * (50 << 20) + good.encode(),
        "deep_list": b"[" * 1_000_000,
        "deep_objects": b'{"a":' * 150_000 + b"1" + b"}" * 150_000,
        "deep_value": b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "huge_number": b'{"crf": ' + b"9" * 1_000_000 + b"}",
        "huge_exponent": b'{"crf": 1e999999999}',
        "tiny_exponent": b'{"chunk_seconds": 1e-999999999}',
        "not_a_number": b'{"crf": NaN}',
        "twice": b'{"video": "a", "video": "b"}',
        "many_fields": ("{" + ",".join(f'"f{n}":1' for n in range(60_000)) + "}").encode(),
        "many_same_fields": ("{" + ",".join('"video":1' for n in range(60_000)) + "}").encode(),
        "nul_in_path": b'{"video": "a\\u0000.mp4", "audio": "b", "output": "p.mp4"}',
        "nul_byte": b'{"video": "a\0.mp4", "audio": "b", "output": "p.mp4"}',
        "lone_surrogate": b'{"video": "\\ud800.mp4", "audio": "b", "output": "p.mp4"}',
        "bad_utf8": b'{"video": "\xff\xfe"}',
        "utf16": json.dumps(GOOD).encode("utf-16"),
        "second_bom": b"\xef\xbb\xbf\xef\xbb\xbf" + good.encode(),
        "escape_sequence": b'{"id": "\\u001b]0;owned\\u0007\\u001b[2J", "video": "a", "audio": "b", "output": "p.mp4"}',
        "bidi_override": '{"id": "a\u202egpj.exe", "crf": "\u202e1", "video": "a"}'.encode(),
        "field_with_escape": b'{"\\u001b[31mvideo": "a"}',
        "proto": b'{"__class__": "os.system", "video": {"$ref": "x"}}',
        "not_an_object": b'"just text"',
    }


def csv_bombs() -> dict[str, bytes]:
    """Name to the whole content of a CSV manifest."""
    head = b"video,audio,output\n"
    return {
        "wide_row": head + b"x," * 1_000_000 + b"x\n",
        "wide_header": b",".join(b"c%d" % n for n in range(200_000)) + b"\n" + b"1," * 199_999 + b"1\n",
        "open_quote": head + b'"a.mp4,b.wav,o.mp4\n' + b"a.mp4,b.wav,p.mp4\n" * 200_000,
        "long_cell": head + b"x" * (50 << 20) + b",b.wav,o.mp4\n",
        "many_rows": head + b",,\n" * 1_500_000,
        "many_bad_rows": head + b"x\n" * 1_500_000,
        "nul": head + b"a\0.mp4,b.wav,o.mp4\n",
        "carriage_returns": b"video,audio,output\ra.mp4,b.wav,o.mp4\r" * 3,
        "one_long_header": b"v" * (50 << 20),
        "formula": head + b"=cmd|' /C calc'!A0,b.wav,o.mp4\n",
    }
