"""How networks are trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkTraining:
    """How networks are trained; the fields are those of the configuration's section `networks`."""

    layers: tuple[int, ...] = (512, 256, 64)
    members: int = 5
    validation_fraction: float = 0.2
    input_components: int = 150
    augmentation_snr: float = 10.0
    epochs: int = 100
    patience: int = 40
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    cloud_quantile: float = 0.98
