"""The networks of a model pack as files of the run, after a look at whether they fit it."""

import shutil

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.job import Job
from lamostvac.core.log import rule_log
from lamostvac.label.pack import Pack, member
from lamostvac.networks.agreement import check_files
from lamostvac.spectra.network_grid import NetworkPreparation


def main(snakemake: Job) -> None:
    """Input: the pack; outputs: the network of each of the params' `labels`."""
    log = rule_log(snakemake)
    params, path = snakemake.params, snakemake.input[0]
    with Pack(path) as pack:
        for label in params.labels:
            if member("network", label) not in pack:
                raise UserError(
                    f"networks.pretrained: {path} has no network of {label}; name a pack of a run with "
                    "these networks.training_sets, or null, which trains"
                )
        for label, output in zip(params.labels, snakemake.output, strict=True):
            with atomic(output) as temporary:
                shutil.copyfile(pack.file(member("network", label)), temporary)
    # By the names of the outputs, which are removed where they do not fit.
    files = dict(zip(params.labels, snakemake.output, strict=True))
    check_files(files, NetworkPreparation.model_validate(params.preparation), params.snr_bands)
    log.info("%d networks of %s", len(files), path)


if __name__ == "__main__":
    main(snakemake)
