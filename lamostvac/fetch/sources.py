"""The form of `config/sources.yaml`: origins of the public files that the workflow reads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_yaml
from lamostvac.core.messages import first_mistake, mistake
from lamostvac.fetch.transfer import Checksum


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[!-~]+", value):
        raise ValueError("it is an address that begins https:// (or http://), without blanks")
    return value


Address = Annotated[str, AfterValidator(_address)]
Place = Literal["library.spectra", "library.labels_file", "networks.root"]
_HASHES = {"sha1": 40, "sha256": 64}


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    place: Place
    file: Annotated[str, Field(min_length=1)]

    @field_validator("file")
    @classmethod
    def _below_its_folder(cls, value: str) -> str:
        if Path(value).is_absolute() or ".." in Path(value).parts:
            raise ValueError("it is relative to the folder that `place` names and stays below it")
        return value


class FileSource(_Source):
    """A file that an archive provides in the required form."""

    service: Literal["file"]
    urls: Annotated[list[Address], Field(min_length=1)]
    content: Literal["any", "fits", "fits.gz", "vizier"] = "any"
    checksum: str | None = None
    size: int | None = Field(default=None, gt=0)

    @field_validator("checksum")
    @classmethod
    def _known_hash(cls, value: str | None) -> str | None:
        if value is not None:
            algorithm, _, digits = value.partition(":")
            if len(digits) != _HASHES.get(algorithm) or not set(digits.lower()) <= set(
                "0123456789abcdef"
            ):
                raise ValueError("it is sha1 or sha256, a colon and the hexadecimal digits")
        return value

    @property
    def published(self) -> Checksum | None:
        """The checksum that is published, if any."""
        return None if self.checksum is None else Checksum(*self.checksum.split(":"))


class _Match(_Source):
    url: Address
    columns: dict[str, str | list[str]] = Field(min_length=1)
    max_rows: int = Field(default=1_000_000, ge=1)

    def names(self) -> Iterator[tuple[str, list[str]]]:
        """Each column of the file and its possible names in the answer."""
        for ours, theirs in self.columns.items():
            yield ours, [theirs] if isinstance(theirs, str) else theirs

    @property
    def separator(self) -> str:
        """The separator between the columns of the file."""
        return "\t" if self.file.endswith(".tsv") else ","

    @field_validator("columns")
    @classmethod
    def _has_positions(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not {"dec", "DEJ2000"} & set(value):
            raise ValueError("there is neither dec nor DEJ2000, by which the rows are put in order")
        return value


class XMatchSource(_Match):
    """Counterparts by the X-Match service of CDS."""

    service: Literal["xmatch"]
    table: str
    radius: float = Field(gt=0, le=180)


class TapSource(_Match):
    """Counterparts by a query to a TAP service with the stars as an uploaded table."""

    service: Literal["tap"]
    query: str


Source = Annotated[FileSource | XMatchSource | TapSource, Field(discriminator="service")]
MatchSource = XMatchSource | TapSource


class _Sources(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sources: list[Source]

    @field_validator("sources")
    @classmethod
    def _distinct(cls, value: list[Any]) -> list[Any]:
        for what in ("name", "file"):
            seen = [getattr(source, what) for source in value]
            twice = next((item for item in seen if seen.count(item) > 1), None)
            if twice is not None:
                raise ValueError(f"two sources have the {what} {twice}")
        return value


def load_sources(path: str | Path) -> list[FileSource | XMatchSource | TapSource]:
    """The sources of a file such as config/sources.yaml.

    Raises `UserError` on the first mistake, naming the source.
    """
    content = read_yaml(path, "fetch.file", "; it holds a list `sources`")
    try:
        return _Sources.model_validate(content).sources
    except ValidationError as problems:
        raise UserError(f"{path}: {_sentence(problems, content)}") from None


def source_from(settings: dict[str, Any]) -> FileSource | XMatchSource | TapSource:
    """One source from its `model_dump`."""
    return TypeAdapter[FileSource | XMatchSource | TapSource](Source).validate_python(settings)


def _sentence(problems: ValidationError, content: Any) -> str:
    place = first_mistake(problems)["loc"]
    if len(place) < 2 or not isinstance(place[1], int):
        return mistake(problems, _Sources)
    entry = content["sources"][place[1]]
    name = entry.get("name") if isinstance(entry, dict) else None
    # The third part is the service, which determined the entry's model.
    return f"source {name or place[1] + 1}: {mistake(problems, _Sources, depth=3)}"
