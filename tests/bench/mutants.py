"""Damaged inputs for every parser: random changes of good ones, the same for the same seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, -1e-308, 10**19, 2**63, "", " ", "x", "done", "\x1b[31m", "\u202e",
    "../../x", "a" * 3000, "0" * 64, [], [[]], [None], ["x"], {}, {"": ""}, {"x": {"x": {}}}, [1, "x", None, 2.5],
    "2026-01-01T00:00:00+00:00", "=1+1", "nan", "\x00",
)  # fmt: skip
TOKENS = (
    b"", b"\x00", b"\xff" * 8, b"\n", b"{", b"}", b"[" * 40, b"]", b'"', b"'''", b"=", b".", b",", b"1e999", b"nan",
    b"-", b"9" * 5000, b"\\ud800", b"\xc3\x28", b"2020-01-01", b"<f8", b"|O", b"(", b"))", b"\x7f\xff\xff\xff",
    b"a.b.c", b"true", b"null", b"PK\x03\x04", b"\x80\x04", b"inf", b"{{", b"import os", b"-1", b"18446744073709551616",
)  # fmt: skip


def of_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to four changes: flipped, cut, doubled, replaced or with a token between."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        a = rng.randint(0, len(data))
        b = min(len(data), a + rng.choice((1, 2, 4, 16, 64, 1024)))
        kind = rng.randrange(6)
        if kind == 0 and a < len(data):
            data[a] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[a:b]
        elif kind == 2:
            data[a:a] = data[a:b]
        elif kind == 3:
            data[a:b] = rng.choice(TOKENS)
        elif kind == 4:
            data[a:a] = rng.choice(TOKENS)
        elif rng.random() < 0.2:
            del data[a:]
        else:
            data[a:b] = rng.randbytes(b - a)
    return bytes(data)


def of_tree(tree: Any, rng: random.Random) -> Any:
    """Return a tree of JSON with one to three changes of a value or a key."""
    changed = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return changed
        parent, key = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(("", "x", "status", "value", "a.b", "schema"))] = parent.pop(key)
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    return changed


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def of_json(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON text with changes of its bytes or of its tree."""
    if rng.random() < 0.5:
        return of_bytes(content, rng)
    return json.dumps(of_tree(json.loads(content), rng)).encode()
