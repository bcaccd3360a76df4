"""Rows as the bodies of requests, by content type."""

import io
import json

import numpy as np


def as_csv(rows: np.ndarray) -> bytes:
    """The rows as csv, a missing value as an empty cell."""
    return "\n".join(",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows).encode()


def as_json(rows: np.ndarray) -> bytes:
    return json.dumps({"instances": [[None if np.isnan(v) else float(v) for v in row] for row in rows]}).encode()


def as_libsvm(rows: np.ndarray) -> bytes:
    lines = (" ".join(f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v)) for row in rows)
    return "\n".join(f"0 {line}" for line in lines).encode()


def as_npy(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


SENT = {
    "text/csv": as_csv,
    "application/json": as_json,
    "text/libsvm": as_libsvm,
    "application/x-npy": as_npy,
}
