"""The configuration's sections publication and explorer."""

from pydantic import (
    Field,
    PositiveInt,
    field_validator,
)

from lamostvac.core.settings import Section


class Publication(Section):
    """Forms of the catalogue beside FITS and Parquet (docs/catalogue.md)."""

    title: str = Field(
        "Stellar labels of LAMOST low-resolution spectra",
        min_length=1,
        description="Title of the catalogue in ReadMe, VOTable and HATS; ASCII.",
    )
    authors: str = Field(
        "", description="Authors of the catalogue in the ReadMe; ASCII; empty: none."
    )
    cds: bool = Field(
        True,
        description="Write recommended.dat.gz, a text table, and ReadMe, which describes it byte by byte for CDS.",
    )
    votable: bool = Field(
        True, description="Write recommended.vot, some columns and rows as a VOTable."
    )
    votable_columns: list[str] | None = Field(
        None,
        description="Columns of recommended.vot; null: those of recommended_main.fits.",
    )
    votable_rows: str | None = Field(
        "best_spectrum == 1 and recommended == 1",
        description="Condition on the columns of the catalogue that rows of recommended.vot meet; null: all rows.",
    )
    votable_max_rows: PositiveInt | None = Field(
        None, description="Most rows of recommended.vot, the first ones; null: no limit."
    )
    published: bool = Field(
        True,
        description=(
            "Write wang2022_table3.fits and liang2024_table1.fits, the catalogue under the names, in the units and "
            "with the rows of the two papers' tables."
        ),
    )
    hats: bool = Field(
        False,
        description="Write hats/, Parquet files by HEALPix pixel, for programs that work on very large catalogues.",
    )
    hats_max_rows: PositiveInt = Field(
        500_000,
        description="Most rows of a file in hats/; half a million rows of 1 kB need 2 GB of memory.",
    )

    @field_validator("title", "authors")
    @classmethod
    def _ascii(cls, text: str) -> str:
        if not text.isascii():
            raise ValueError("it must be ASCII, as CDS wants; write names without accents")
        return text


class Explorer(Section):
    """The page explorer.html, which shows the catalogue without network (docs/explorer.md)."""

    enabled: bool = Field(True, description="Write explorer.html.")
    max_rows: PositiveInt = Field(
        1_000_000,
        description="Most rows in the page, evenly spaced over those that meet rows; a million are about 50 MB.",
    )
    columns: list[str] | None = Field(
        None,
        description=(
            "Columns of the table, the download and the axes; null: position, recommended labels, absolute "
            "magnitudes, distance, quality. Those that the plots and filters need are always there."
        ),
    )
    rows: str | None = Field(
        None,
        description="Condition on the columns of the catalogue that rows of the page meet; null: all rows.",
    )
