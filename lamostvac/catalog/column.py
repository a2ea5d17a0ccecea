"""One column of the catalogue: its type in every form that is needed."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError

FITS_CODES = {
    "uint8": "B",
    "int16": "I",
    "int32": "J",
    "int64": "K",
    "float32": "E",
    "float64": "D",
}

STRING = re.compile(r"string\[(\d+)\]")


@dataclass(frozen=True)
class Column:
    """One column of the catalogue; the fields are those of `config/columns.yaml`."""

    name: str
    dtype: str
    unit: str
    ucd: str
    description: str
    origin: str
    bit: int | None = None

    @property
    def is_string(self) -> bool:
        """Whether the column holds text of fixed width."""
        return self.dtype.startswith("string")

    @property
    def width(self) -> int:
        """Bytes of a text column."""
        match = STRING.fullmatch(self.dtype)
        if match is None:
            raise ValueError(f"{self.name} is not a text column")
        return int(match[1])

    @property
    def numpy(self) -> str:
        """NumPy's name of the type in a FITS record: big-endian."""
        return f"S{self.width}" if self.is_string else np.dtype(self.dtype).newbyteorder(">").str

    @property
    def tform(self) -> str:
        """FITS TFORM."""
        return f"{self.width}A" if self.is_string else FITS_CODES[self.dtype]

    @property
    def arrow(self) -> pa.DataType:
        """Arrow's type."""
        return pa.string() if self.is_string else pa.from_numpy_dtype(np.dtype(self.dtype))

    @property
    def in_dex(self) -> bool:
        """Whether the values are logarithms to base 10, or differences of such, which FITS and
        VOUnits have no unit for: surface gravities and abundances, with their errors.
        """
        if self.unit or not self.dtype.startswith("float"):
            return False
        said = "dex)" in self.description or "in dex" in self.description
        return said or any(quantity in self.ucd for quantity in ("phys.gravity", "phys.abund"))

    @property
    def missing(self) -> Any:
        """The missing value: NaN, -1, 0 for unsigned numbers, the empty text."""
        if self.is_string:
            return b""
        kind = np.dtype(self.dtype).kind
        return {"f": np.nan, "i": -1, "u": 0}[kind]

    @property
    def null(self) -> int | None:
        """FITS TNULL: the missing value of signed whole numbers; None for other columns."""
        return -1 if not self.is_string and np.dtype(self.dtype).kind == "i" else None


def fixed_width(column: Column, values: NDArray[Any]) -> NDArray[np.bytes_]:
    """Texts (n,) in the bytes of a column; `UserError` where one is longer."""
    if values.dtype.kind != "S":
        texts = ["" if value is None or value != value else str(value) for value in values.tolist()]
        values = np.array([text.encode("ascii", "replace") for text in texts], dtype="S")
    values = np.char.strip(values) if values.size else values.astype("S1")
    if values.size and (longest := int(np.char.str_len(values).max())) > column.width:
        culprit = values[np.char.str_len(values) == longest][0].decode("ascii", "replace")
        raise UserError(
            f"column {column.name} is {column.width} bytes wide in config/columns.yaml but holds {culprit!r} of "
            f"{longest}; widen its dtype"
        )
    return values
