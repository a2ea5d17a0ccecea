"""How `tools/fuzz.py` changes a valid file: bytes, and what its format is made of (cards, cells, keys, arrays)."""

import gzip
import io
import re
import struct
from collections.abc import Callable

import h5py
import numpy as np
import yaml

Rng = np.random.Generator
_GZIP = b"\x1f\x8b"
_CARD, _BLOCK = 80, 2880
_MOST_VALUES = 1 << 22

NUMBERS = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "255",
        "-32",
        "65536",
        "2147483648",
        "-2147483649",
        "9223372036854775807",
    ),
    *(
        "9223372036854775808",
        "99999999999999999999",
        "1e308",
        "1e400",
        "-1e-400",
        "NaN",
        "inf",
        "-inf",
    ),
    *(
        "-9999",
        "-9999.0",
        "1.5",
        "0x10",
        "1_000",
        "1D5",
        "3.949843210360996e18",
        "007",
        "+5",
        "٣",
        "-0",
    ),
)
TEXTS = (
    *(
        "",
        " ",
        "T",
        "F",
        "'",
        "''",
        '"',
        "-",
        "---",
        "...",
        "null",
        "<NA>",
        "nan",
        "M5",
        "STAR",
        "../../x",
    ),
    *(
        "=1+1",
        "a,b",
        "a|b",
        "a\tb",
        "{spid[0]}",
        "{",
        "%s",
        "é",
        "\x00",
        "\x07",
        "\u2028",
        "a" * 3000,
    ),
)
_CARDS = (
    *(
        "T",
        "F",
        "'1PE(5)'",
        "'Q'",
        "'0E'",
        "'3909X'",
        "'100000000000E'",
        "'-5E'",
        "'5A'",
        "'20P'",
        "'L'",
        "'M'",
    ),
    *("'BINTABLE'", "'IMAGE'", "''", "'unclosed", "(1.0, 2.0)", "", "'A'/'B'"),
)


def some(rng: Rng, values: tuple[str, ...]) -> str:
    """One of some values."""
    return values[int(rng.integers(len(values)))]


def change_bytes(rng: Rng, data: bytes) -> bytes:
    """Bits, bytes and pieces: changed, removed, repeated, put elsewhere."""
    if not data:
        return bytes(rng.integers(0, 256, 10, np.uint8))
    # Half of the changes are near the beginning, where headers are.
    end = len(data) if rng.random() < 0.5 else min(len(data), 3 * _BLOCK)
    start = int(rng.integers(end))
    length = int(min(rng.geometric(1 / rng.choice([2, 40, 3000])), len(data) - start))
    piece = data[start : start + length]
    other = int(rng.integers(len(data)))
    changed = {
        0: lambda: bytes([data[start] ^ (1 << int(rng.integers(8)))]),
        1: lambda: bytes(rng.integers(0, 256, length, np.uint8)),
        2: lambda: bytes([int(rng.choice([0, 255, 127, 128, 32, 10, 44]))]) * length,
        3: lambda: b"",
        4: lambda: piece + piece,
        5: lambda: data[other : other + length],
        6: lambda: np.array(rng.choice([np.nan, np.inf, -1e38, 0, 1e-44]), ">f4").tobytes(),
    }
    choice = int(rng.integers(9))
    if choice == 7:
        return data[:start]
    if choice == 8:
        return data + data[start:]
    new = changed[choice]()
    removed = 1 if choice == 0 else len(new) if choice == 6 else length
    return data[:start] + new + data[start + removed :]


def change_fits(rng: Rng, data: bytes) -> bytes:
    """One card of a header: its value, keyword or place; or the numbers of the data."""
    cards = [
        at
        for at in range(0, min(len(data), 40 * _BLOCK) - _CARD + 1, _CARD)
        if re.fullmatch(rb"[A-Z0-9_ -]{8}= ", data[at : at + 10])
    ]
    if not cards or rng.random() < 0.2:
        at = 4 * int(rng.integers(max(len(data) // 4, 1)))
        values = rng.choice(
            [np.nan, np.inf, -np.inf, 0.0, -9999.0, 1e30, -1.0], int(rng.integers(1, 200))
        )
        kind = str(rng.choice([">f4", ">f8", ">i2", "<f4"]))
        with np.errstate(all="ignore"):
            return (
                data[:at]
                + values.astype(kind).tobytes()
                + data[at + len(values) * np.dtype(kind).itemsize :]
            )
    at = cards[int(rng.integers(len(cards)))]
    card, other = data[at : at + _CARD], cards[int(rng.integers(len(cards)))]
    choice = int(rng.integers(8))
    if choice < 4:  # another value
        value = some(
            rng, NUMBERS if choice < 2 else (*_CARDS, *(f"'{text[:60]}'" for text in TEXTS))
        )
        card = (card[:10] + f"{value:>20}".encode("latin-1", "replace"))[:_CARD].ljust(_CARD)
    elif choice == 4:
        card = b"".ljust(_CARD)
    elif choice == 5:
        card = b"END".ljust(_CARD)
    elif choice == 6:  # the value of another card
        card = card[:10] + data[other + 10 : other + _CARD]
    else:  # a second card of the name
        return (
            data[:at] + card + data[at : other - other % _CARD] + data[other:]
            if at < other
            else data
        )
    return data[:at] + card + data[at + _CARD :]


def change_table(rng: Rng, data: bytes) -> bytes:
    """Cells, rows, names and separators of a text table."""
    lines = data.split(b"\n")
    separator = max((b",", b"|", b"\t", b";"), key=lines[0].count)
    row = int(rng.integers(len(lines))) if rng.random() < 0.8 else 0
    cells = lines[row].split(separator)
    column = int(rng.integers(len(cells)))
    choice = int(rng.integers(9))
    value = some(rng, NUMBERS if rng.random() < 0.6 else TEXTS).encode(
        str(rng.choice(["utf-8", "utf-16"])), "replace"
    )
    if choice < 3:
        cells[column] = value
        lines[row] = separator.join(cells)
    elif choice == 3:
        lines[row] = separator.join(cells[:column] + cells[column + 1 :])
    elif choice == 4:
        lines.insert(row, lines[int(rng.integers(len(lines)))])
    elif choice == 5:
        lines[row] = b'"' + lines[row]
    elif choice == 6:  # a whole column
        for number in range(1, len(lines)):
            parts = lines[number].split(separator)
            if column < len(parts):
                parts[column] = value
                lines[number] = separator.join(parts)
    elif choice == 7:
        new = bytes(rng.choice([b",", b"|", b"\t", b";", b" ", b"\r\n"]))
        return data.replace(separator, new)
    else:
        lines[row] = (
            bytes(rng.choice([b"#", b"", b"\r", b"\x00", b"---" + separator + b"---"])) + lines[row]
        )
    return b"\n".join(lines)


def change_yaml(rng: Rng, data: bytes) -> bytes:
    """Values and keys of a YAML tree, or its text where that says more than a tree can."""
    if rng.random() < 0.3:
        return _change_yaml_text(rng, data)
    try:
        tree = yaml.safe_load(data)
    except Exception:  # an earlier change broke it
        return _change_yaml_text(rng, data)
    places: list[tuple[dict | list, object]] = []
    pending = [tree]
    while pending and len(places) < 10_000:
        item = pending.pop()
        keys = (
            list(item)
            if isinstance(item, dict)
            else range(len(item))
            if isinstance(item, list)
            else []
        )
        places.extend((item, key) for key in keys)
        pending.extend(item[key] for key in keys)
    if not places:
        return _change_yaml_text(rng, data)
    item, key = places[int(rng.integers(len(places)))]
    other, another = places[int(rng.integers(len(places)))]
    odd = (
        None,
        [],
        {},
        True,
        -1,
        10**30,
        1.5,
        float("nan"),
        float("inf"),
        [[]],
        {"a": 1},
        "x",
        "",
        0,
        "(",
        "a" * 5000,
    )
    choice = int(rng.integers(6))
    if choice < 2:
        item[key] = odd[int(rng.integers(len(odd)))]
    elif choice == 2:
        item[key] = some(rng, (*NUMBERS, *TEXTS))
    elif choice == 3:
        del item[key]
    elif choice == 4 and isinstance(item, dict):
        item[some(rng, (*TEXTS, "teff", "file", "labels"))] = item.pop(key)
    else:
        item[key] = other[another] if another in other or isinstance(other, list) else None
    try:
        return yaml.safe_dump(tree, allow_unicode=True).encode()
    except Exception:  # a tree that contains itself after the change
        return data


def _change_yaml_text(rng: Rng, data: bytes) -> bytes:
    pieces = (
        *(
            b"&a [*a]",
            b"*a",
            b"!!python/object/apply:os.system [id]",
            b"!!binary x",
            b"? : ?",
            b"{" * 3000,
        ),
        *(
            b"- " * 3000,
            b"__use_yte__: true",
            b"<<: *a",
            b"\xff\xfe",
            b"\t",
            b"|",
            b">",
            b"%YAML 9",
        ),
        *(
            b"---\n---",
            b"1" * 5001,
            b"2000-13-45",
            b"\n  x: &x\n    <<: *x",
            b": ",
            b"'",
            b'"\\',
            b"0o9",
        ),
        *(b"1:60:99", b"!!int x", b"!!float .", b"!!timestamp x", b"!!set 1"),
    )
    lines = data.split(b"\n")
    row = int(rng.integers(len(lines)))
    piece = pieces[int(rng.integers(len(pieces)))]
    head, colon, _ = lines[row].partition(b":")
    lines[row] = head + b": " + piece if colon and rng.random() < 0.7 else lines[row] + piece
    return b"\n".join(lines)


def change_hdf5(rng: Rng, data: bytes) -> bytes:
    """Arrays and attributes of an HDF5 file: others, none, or links in their place."""
    if rng.random() < 0.1 and b"GCOL" in data:
        return _change_length(rng, data)
    memory = io.BytesIO(data)
    try:
        with h5py.File(memory, "r+") as handle:
            places: list[str] = []
            handle.visit(places.append)
            arrays = [name for name in places if isinstance(handle[name], h5py.Dataset)]
            if rng.random() < 0.3 and len(handle.attrs):
                name = sorted(handle.attrs)[int(rng.integers(len(handle.attrs)))]
                odd = (
                    1,
                    -1.0,
                    np.nan,
                    np.inf,
                    "",
                    "x",
                    "linear",
                    [1.0, 2.0],
                    [],
                    "a" * 3000,
                    np.bytes_(b"\xff"),
                    True,
                )
                handle.attrs[name] = odd[int(rng.integers(len(odd)))]
                if rng.random() < 0.2:
                    del handle.attrs[name]
            else:
                _change_array(rng, handle, places, arrays[int(rng.integers(len(arrays)))])
    except Exception:  # an earlier change broke it
        return change_bytes(rng, data)
    return memory.getvalue()


def _change_length(rng: Rng, data: bytes) -> bytes:
    """Another length, place or number of a text of any length, where an attribute uses it."""
    place = struct.pack("<Q", data.index(b"GCOL"))
    uses = [found.start() for found in re.finditer(re.escape(place), data) if found.start() > 4]
    if not uses:  # an earlier change broke it
        return change_bytes(rng, data)
    content = bytearray(data)
    at = uses[int(rng.integers(len(uses)))] + int(rng.choice([-4, -4, -4, 0, 4, 8]))
    struct.pack_into("<I", content, at, int(rng.integers(1 << 32)))
    return bytes(content)


def _change_array(rng: Rng, handle: h5py.File, places: list[str], name: str) -> None:
    if handle[name].size > _MOST_VALUES:  # an earlier change made it
        del handle[name]
        return
    values = handle[name][()]
    choice = int(rng.integers(10))
    if choice < 3 and values.dtype.kind == "f" and np.size(values):
        flat = np.array(values).reshape(-1)
        flat[int(rng.integers(flat.size))] = rng.choice([np.nan, np.inf, 0, -1, 1e38, 1e-44])
        handle[name][...] = flat.reshape(np.shape(values))
        return
    if choice == 3:
        name = places[int(rng.integers(len(places)))]
    del handle[name]
    if choice == 4:
        handle[name] = h5py.SoftLink("/" + places[0])
    elif choice == 5:
        handle[name] = h5py.ExternalLink("/etc/passwd", "/")
    elif choice == 6:
        shape = tuple(max(int(n + rng.integers(-2, 3)), 0) for n in np.shape(values)) or (3,)
        handle.create_dataset(name, shape, values.dtype)
    elif choice == 7:
        kind = str(rng.choice(["i8", "S3", "c16", "f2", "f8", "?", "u1", "V5"]))
        handle.create_dataset(name, np.shape(values), kind)
    elif choice == 8:
        handle.create_dataset(name, (1 << int(rng.integers(20, 50)),), "f4", chunks=(1 << 16,))
    elif choice == 9:
        handle.create_group(name)


STRUCTURE: dict[str, Callable[[Rng, bytes], bytes]] = {
    "spectrum": change_fits,
    "fits_table": change_fits,
    "library": change_fits,
    "text_table": change_table,
    "catalogue": change_table,
    "configuration": change_yaml,
    "hdf5": change_hdf5,
}
"""How each reader's inputs are changed besides their bytes."""


def mutated(rng: Rng, reader: str, data: bytes) -> bytes:
    """A valid input after one to five changes, half of them of its structure."""
    packed = data[:2] == _GZIP
    if packed and rng.random() < 0.9:
        data = gzip.decompress(data)
    structure = change_fits if data[:6] == b"SIMPLE" else STRUCTURE[reader]
    for _ in range(1 + min(int(rng.geometric(0.6)) - 1, 4)):
        data = (structure if rng.random() < 0.6 else change_bytes)(rng, data)
    if packed and data[:2] != _GZIP and rng.random() < 0.7:
        data = gzip.compress(data, 1, mtime=0)
    return data


def with_long_texts(data: bytes) -> bytes:
    """An HDF5 file whose attributes have texts of any length, as this program wrote them before."""
    memory = io.BytesIO(data)
    with h5py.File(memory, "r+") as handle:
        places: list[str] = ["/"]
        handle.visit(places.append)
        for attributes in (handle[place].attrs for place in places):
            for name, value in list(attributes.items()):
                if isinstance(value, bytes):
                    attributes[name] = value.decode()
                elif isinstance(value, np.ndarray) and value.dtype.kind == "S":
                    attributes[name] = [text.decode() for text in value]
    return memory.getvalue()
