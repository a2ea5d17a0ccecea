"""The catalogue as HATS: Parquet files by sky position, for programs for very large catalogues.

Layout: Hierarchical Adaptive Tiling Scheme, IVOA Note 2025 (Npix files below Norder and Dir,
hats.properties, partition_info.csv). hats-import makes such catalogues too, but needs Dask and
writes dates into its files; its work for one table is short enough to be done here.
`lamostvac.publish.healpix` numbers the pixels.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.catalog.files import ROW_GROUP, read_blocks
from lamostvac.catalog.merge import repeated_texts
from lamostvac.catalog.registry import Registry
from lamostvac.catalog.table_header import YAML_KEY
from lamostvac.core.atomic import atomic_folder
from lamostvac.core.exceptions import UserError
from lamostvac.publish.healpix import MAX_ORDER, partitions, pixels

INDEX = "_healpix_29"
MAX_SPLIT = 12  # order of the finest pixels with a file of their own, 50 arcsec


def write_hats(
    path: str | Path,
    catalogue: str | Path,
    registry: Registry,
    cards: Mapping[str, str],
    max_rows: int,
    title: str = "",
    block: int = ROW_GROUP,
) -> list[tuple[int, int, int]]:
    """Write a HATS catalogue into the folder `path`.

    The rows are first distributed to one file per pixel, block by block, and then sorted pixel by
    pixel, so memory holds the rows of one pixel. Rows at the same position stay in the catalogue's
    order.

    Parameters
    ----------
    catalogue : FITS table that `lamostvac.catalog.merge.merge_tables` wrote
    cards : provenance, keyword to value
    max_rows : largest number of rows of a pixel
    block : rows read at a time; no result depends on it

    Returns
    -------
    order, pixel and rows of each file

    Raises
    ------
    UserError
        A row has no position, or there are no rows.
    """
    index = _index(catalogue, registry, block)
    if not len(index):
        raise UserError("publication.hats: the catalogue has no rows; switch it off for this run")
    files = partitions(index, max_rows, MAX_SPLIT)
    starts = np.array([number << (2 * (MAX_ORDER - order)) for order, number, _ in files])
    file_of = np.searchsorted(starts, index, side="right") - 1
    metadata = {keyword.lower(): value for keyword, value in cards.items()}
    schema = registry.schema(metadata).insert(
        0,
        pa.field(
            INDEX,
            pa.int64(),
            nullable=False,
            metadata={"description": "HEALPix pixel, nested, order 29"},
        ),
    )
    # Astropy's text on columns has no pixel, and it takes a column that is not in the text for damage.
    schema = schema.with_metadata(
        {key: value for key, value in schema.metadata.items() if key != YAML_KEY.encode()}
    )
    with atomic_folder(path) as folder:
        parts = [folder / f"part-{number}" for number in range(len(files))]
        _scatter(catalogue, registry, file_of, parts, block)
        dataset = folder / "dataset"
        collected = []
        for (order, number, n), part in zip(files, parts, strict=True):
            rows = np.fromfile(part, registry.record)
            part.unlink()
            assert len(rows) == n
            pixel = pixels(rows["ra"], rows["dec"], MAX_ORDER)
            sequence = np.argsort(pixel, kind="stable")
            table = registry.to_arrow(rows[sequence]).add_column(
                0, schema.field(0), pa.array(pixel[sequence])
            )
            relative = f"Norder={order}/Dir={number // 10000 * 10000}/Npix={number}.parquet"
            (dataset / relative).parent.mkdir(parents=True, exist_ok=True)
            seen: list[pq.FileMetaData] = []
            with pq.ParquetWriter(
                dataset / relative,
                schema,
                compression="zstd",
                use_dictionary=repeated_texts(registry),
                metadata_collector=seen,
            ) as writer:
                writer.write_table(table.cast(schema), row_group_size=ROW_GROUP)
            seen[-1].set_file_path(relative)
            collected += seen
        pq.write_metadata(schema, dataset / "_common_metadata")
        pq.write_metadata(schema, dataset / "_metadata", metadata_collector=collected)
        (folder / "partition_info.csv").write_text(
            "Norder,Npix\n" + "".join(f"{order},{number}\n" for order, number, _ in files)
        )
        (folder / "hats.properties").write_text(_properties(files, max_rows, cards, title))
    return files


def _index(catalogue: str | Path, registry: Registry, block: int) -> NDArray[np.int64]:
    index = [np.empty(0, np.int64)]
    for rows in read_blocks(catalogue, registry, block):
        lost = ~(np.isfinite(rows["ra"]) & np.isfinite(rows["dec"]))
        if lost.any():
            name = rows["spectrum_id"][lost][0].decode()
            raise UserError(
                f"publication.hats: the spectrum {name} has no position; switch it off for this run"
            )
        index.append(pixels(rows["ra"], rows["dec"], MAX_ORDER))
    return np.concatenate(index)


def _scatter(
    catalogue: str | Path,
    registry: Registry,
    file_of: NDArray[np.int64],
    parts: list[Path],
    block: int,
) -> None:
    """Append each row's bytes to its part; one is open at a time, as there may be thousands."""
    done = 0
    for rows in read_blocks(catalogue, registry, block):
        target = file_of[done : done + len(rows)]
        done += len(rows)
        order = np.argsort(target, kind="stable")
        rows, target = rows[order], target[order]
        numbers, first = np.unique(target, return_index=True)
        for number, piece in zip(numbers, np.split(rows, first[1:]), strict=True):
            with open(parts[number], "ab") as handle:
                handle.write(piece.data)


def _properties(
    files: list[tuple[int, int, int]], max_rows: int, cards: Mapping[str, str], title: str
) -> str:
    sky = sum(1 / (12 * 4**order) for order, _, _ in files)
    entries = {
        "obs_collection": "recommended",
        "obs_title": title,
        "dataproduct_type": "source",
        "hats_nrows": sum(n for _, _, n in files),
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": INDEX,
        "hats_col_healpix_order": MAX_ORDER,
        "hats_npix_suffix": ".parquet",
        "hats_max_rows": max_rows,
        "hats_order": max(order for order, _, _ in files),
        "moc_sky_fraction": f"{sky:.6f}",
        "hats_builder": cards.get("CREATOR", "lamost-vac"),
        "hats_version": "v1.0",
    }
    return "#HATS catalog\n" + "".join(f"{key}={value}\n" for key, value in entries.items())
