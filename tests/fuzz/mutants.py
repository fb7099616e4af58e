"""Damage to files: bits flipped, ends cut, bytes inserted or replaced, and values of a tree that become others."""

import copy
import json
import random

import numpy as np
import yaml

ODD = [
    None,
    True,
    3,
    -1,
    10**18,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "é",
    [],
    {},
    [[]],
    {"a": 1},
    "9" * 200,
]
INSERTS = [b"\xff\xfe", b"[" * 5000, b"9" * 5000, b"\0", b'{"a":' * 3000]


def flip_bit(content: bytes, chance: random.Random) -> bytes:
    """Flip one bit anywhere."""
    damaged = bytearray(content)
    damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def damage(content: bytes, chance: random.Random) -> bytes:
    """Flip bits in up to three bytes, cut the end, insert a run of bytes, or replace one by a mark of syntax."""
    damaged, kind = bytearray(content), chance.random()
    place = chance.randrange(len(damaged))
    if kind < 0.55:
        for _ in range(chance.randint(1, 3)):
            head = min(len(damaged), 4096) if chance.random() < 0.5 else len(damaged)
            damaged[chance.randrange(head)] ^= 1 << chance.randrange(8)
    elif kind < 0.75:
        del damaged[place:]
    elif kind < 0.85:
        damaged[place:place] = chance.choice(INSERTS)
    else:
        damaged[place] = chance.choice(b'"{}[]:,(\xff0')
    return bytes(damaged)


def change(tree, chance: random.Random):
    """A copy of nested lists and dicts where one key is removed or renamed, or one value replaced."""
    tree = copy.deepcopy(tree)
    node = tree
    for _ in range(chance.randint(0, 4)):
        inner = [node[key] for key in keys(node) if isinstance(node[key], dict | list) and node[key]]
        if not inner:
            break
        node = chance.choice(inner)
    if keys(node):
        key, kind = chance.choice(keys(node)), chance.random()
        if kind < 0.15:
            del node[key]
        elif kind < 0.25 and isinstance(node, dict):
            node[key + "x"] = node.pop(key)
        else:
            node[key] = chance.choice(ODD)
    return tree


def keys(node):
    return list(node) if isinstance(node, dict) else list(range(len(node)))


def damage_json(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return damage(content, chance)
    return json.dumps(change(json.loads(content), chance)).encode()


def damage_yaml(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return damage(content, chance)
    return yaml.safe_dump(change(yaml.safe_load(content), chance)).encode()


def damage_header(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three bytes changed, removed or put in, or a line lost or doubled."""
    changed = bytearray(content)
    if rng.random() < 0.1:
        lines = content.split(b"\n")
        at = int(rng.integers(len(lines)))
        return b"\n".join(lines[:at] + lines[at : at + 1] * 2 * int(rng.integers(2)) + lines[at + 1 :])
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(changed)))
        likely = rng.choice(list(b"0123456789.-+/()x:#~eEmuVI \n"))
        byte = int(likely if rng.random() < 0.7 else rng.integers(256))
        match int(rng.integers(4)):
            case 0:
                del changed[at]
            case 1:
                changed.insert(at, byte)
            case 2:
                changed[at] ^= 1 << int(rng.integers(8))
            case _:
                changed[at] = byte
    return bytes(changed)
