"""A model pack: all that a run has learned, in one file that labels spectra without the run.

The file is an uncompressed ZIP archive. `pack.json` in it says what the models are, how they were
made and the SHA-256 of every other member; emulators, networks, errors and relations are the run's
own files. Nothing in it is a pickle or code, and a member is read only after its digest was found
right.
"""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lamostvac.catalog.flags import Chi2Regression
from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import mistake
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import SpectralType
from lamostvac.fit.settings import FitSettings
from lamostvac.recommend.definitions import Definition
from lamostvac.recommend.settings import Settings
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.settings import Preparation
from lamostvac.survey.settings import SnrThresholds

FORMAT = "lamost-vac pack 2"
CONTENT = "pack.json"
_LARGEST = 1 << 24  # bytes of `pack.json`; real ones have 0.1 MB
_READ = 1 << 20
_SAID = 200  # characters of an error in a sentence
_TIME = (1980, 1, 1, 0, 0, 0)  # of every member, so that equal content gives equal bytes


class PackSettings(BaseModel):
    """What a pack says of its models.

    Attributes
    ----------
    name : of the run's results folder
    simulated : whether the models were made from a simulated survey and know no real star
    provenance : cards of the run's catalogue: program, commit, configuration, input files
    packages : package of the library to the version of its code that made the run; empty in packs
        of before these were noted
    references : BibTeX of the methods and data that went into it
    types, classes, snr_band, snr_min, max_abs_redshift, gaia_release : of the section `survey`
    prepare, networks : how spectra are prepared for emulators and networks; None without networks
    fit, max_outlier_fraction : of the section `fit`
    library, second : the first emulator, and the one that gives log g besides; None without
    emulators : those beside the first, as rules pass them (`catalog.registry.emulator_labels`)
    network_labels : the networks' labels, as rules pass them (`catalog.registry.network_labels`)
    apply, grids : by network's label the condition on spectra, and the limits of the training set
    flags : what flags depend on besides S/N
    snr_thresholds, chi2 : by type the S/N of dwarfs and giants below which `flag_snr` is set, and
        the regression of `flag_chi2`
    keep_errors : whether labels without a curve keep their errors
    definitions, recommended : of the recommended labels
    trained : labels of networks with answers of members that did not learn from a star
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["lamost-vac pack 2"] = "lamost-vac pack 2"
    name: str
    simulated: bool
    provenance: dict[str, str]
    packages: dict[str, int] = Field(default_factory=dict)
    references: str
    types: list[SpectralType]
    classes: list[str]
    snr_band: str
    snr_min: SnrThresholds
    max_abs_redshift: float
    gaia_release: str
    prepare: Preparation
    networks: NetworkPreparation | None
    fit: FitSettings
    max_outlier_fraction: float
    library: str
    second: str | None
    emulators: list[dict[str, Any]]
    network_labels: list[dict[str, str]]
    apply: dict[str, str]
    grids: dict[str, dict[str, tuple[float, float]]]
    flags: dict[str, Any]
    snr_thresholds: dict[SpectralType, tuple[float, float]]
    chi2: dict[SpectralType, Chi2Regression]
    keep_errors: bool
    definitions: list[Definition]
    recommended: Settings
    trained: list[str]


class _Content(BaseModel):
    """`pack.json`: the settings, and the SHA-256 of each other member."""

    model_config = ConfigDict(extra="forbid")

    settings: PackSettings
    members: dict[str, str]


def member(kind: str, name: str, ending: str = ".h5") -> str:
    """Name in a pack of what a run has of a kind for a label, an emulator or a spectral type."""
    return f"{kind}-{name}{ending}"


def write_pack(path: Path, settings: PackSettings, members: Mapping[str, Path]) -> int:
    """Write a pack and return its size in bytes.

    Parameters
    ----------
    members : name in the archive to file
    """
    digests = {}
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, file in sorted(members.items()):
            digest = hashlib.sha256()
            with open(file, "rb") as source, archive.open(_entry(name), "w") as target:
                while part := source.read(_READ):
                    digest.update(part)
                    target.write(part)
            digests[name] = digest.hexdigest()
        content = _Content(settings=settings, members=digests)
        archive.writestr(_entry(CONTENT), content.model_dump_json(indent=1))
    return path.stat().st_size


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _TIME)


class Closed:
    """Something that is closed at the end of a `with` statement."""

    def close(self) -> None:
        """Remove temporary files."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pack(Closed):
    """An open pack. Its members become files of a temporary folder when they are asked for.

    Attributes
    ----------
    settings : what it says of its models

    Raises
    ------
    UserError
        There is no such file, it is no pack, a pack of another format, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"there is no model pack {self.path}; `lamostvac pack` makes one")
        try:
            self._archive = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{self.path} is no model pack: {error}") from None
        try:
            content = self._content()
        except BaseException:
            self._archive.close()
            raise
        self.settings, self._members = content.settings, content.members
        self._folder = tempfile.TemporaryDirectory(prefix="lamostvac-pack-")

    def _content(self) -> _Content:
        try:
            if self._archive.getinfo(CONTENT).file_size > _LARGEST:
                raise UserError(f"{self.path} is no model pack: {CONTENT} is too large")
            return _Content.model_validate_json(self._archive.read(CONTENT))
        except KeyError:
            raise UserError(f"{self.path} is no model pack: it has no {CONTENT}") from None
        except ValidationError as error:
            raise UserError(
                f"{self.path} is a model pack of another version of this program "
                f"({mistake(error, _Content)}); make it anew with `lamostvac pack`"
            ) from None
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise UserError(f"{self.path} is damaged: {error}") from None

    @property
    def folder(self) -> Path:
        """The temporary folder, which `close` removes."""
        return Path(self._folder.name)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def file(self, name: str) -> Path:
        """A member as a file; raises `UserError` where it is missing or damaged."""
        if self._archive.fp is None:
            raise UserError(f"{self.path} was closed; label inside the `with` statement")
        place = self.folder / hashlib.sha256(name.encode()).hexdigest()
        place = place.with_suffix(Path(name).suffix)
        if place.exists():
            return place
        digest = hashlib.sha256()
        try:
            with self._archive.open(name) as source, open(place, "xb") as target:
                while part := source.read(_READ):
                    digest.update(part)
                    target.write(part)
        except (KeyError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            place.unlink(missing_ok=True)
            raise UserError(f"{self.path} is damaged: {name}: {error}") from None
        if digest.hexdigest() != self._members.get(name):
            place.unlink()
            raise UserError(f"{self.path} is damaged: {name} is not what {CONTENT} says")
        return place

    def read(self, name: str, reader: Callable[[Path], Any]) -> Any:
        """What `reader` makes of a member; the message of a mistake names the pack."""
        place = self.file(name)
        try:
            with self.using(name):
                return reader(place)
        except (UserError, OSError) as error:
            said = str(error).replace(str(place), name)
            why = said.rpartition("; ")[0] or said  # without what a run's file would need
            raise UserError(
                f"{self.path} is damaged: {name}: {why}; make it anew with `lamostvac pack`"
            ) from None

    @contextmanager
    def using(self, what: str) -> Iterator[None]:
        """Whatever the pack's content leads to, in one sentence.

        Digests say only that a pack is as it was written. One that was written by another program
        can lack arrays, or have some that do not fit each other, which shows where they are used.

        Parameters
        ----------
        what : the part of the pack that is used

        Raises
        ------
        UserError
            Whatever was raised, but for what an operating system says, and rejected spectra.
        """
        try:
            yield
        except (UserError, SpectrumRejected, OSError, MemoryError):
            raise
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())[:_SAID]
            raise UserError(
                f"{self.path} cannot be used: what it has as {what} is not what this program "
                f"writes ({why}); make it anew with `lamostvac pack`"
            ) from error

    def close(self) -> None:
        """Remove the temporary folder."""
        self._archive.close()
        self._folder.cleanup()
