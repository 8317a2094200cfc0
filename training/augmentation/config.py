"""Which effects augmentation applies, how often and how strongly, in groups for ablation."""

from dataclasses import dataclass, field, replace

from service.errors import InputError
from training.augmentation.beam import Attenuation, Enhancement, GainCurve, Reverberation, Shadow
from training.augmentation.overlay import Calipers, Text, Ticks
from training.augmentation.photometric import Photometric
from training.augmentation.receiver import Compression, DynamicRange, Gain, Quantisation
from training.augmentation.texture import Haze, ResolutionLoss, Speckle
from training.augmentation.warp import Crop, Flip, Remap, Tilt, Zoom

GROUPS: dict[str, tuple[str, ...]] = {  # group -> its fields in AugmentationConfig
    "generic": ("crop", "flip", "photometric"),
    "beam": ("attenuation", "gain_curve", "shadow", "enhancement", "reverberation"),
    "texture": ("speckle", "haze", "resolution"),
    "receiver": ("gain", "dynamic_range", "compression", "quantisation"),
    "probe": ("tilt", "zoom", "remap"),
    "overlay": ("calipers", "text", "ticks"),
}
EFFECTS: tuple[str, ...] = tuple(effect for group in GROUPS.values() for effect in group)


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """One sub-config per effect; its ``chance`` per frame, 0 = off, and the ranges it draws from.

    The defaults are moderate: about six effects fall on a frame. Every one is documented at its
    class.
    """

    crop: Crop = field(default_factory=Crop)
    flip: Flip = field(default_factory=Flip)
    photometric: Photometric = field(default_factory=Photometric)
    attenuation: Attenuation = field(default_factory=Attenuation)
    gain_curve: GainCurve = field(default_factory=GainCurve)
    shadow: Shadow = field(default_factory=Shadow)
    enhancement: Enhancement = field(default_factory=Enhancement)
    reverberation: Reverberation = field(default_factory=Reverberation)
    speckle: Speckle = field(default_factory=Speckle)
    haze: Haze = field(default_factory=Haze)
    resolution: ResolutionLoss = field(default_factory=ResolutionLoss)
    gain: Gain = field(default_factory=Gain)
    dynamic_range: DynamicRange = field(default_factory=DynamicRange)
    compression: Compression = field(default_factory=Compression)
    quantisation: Quantisation = field(default_factory=Quantisation)
    tilt: Tilt = field(default_factory=Tilt)
    zoom: Zoom = field(default_factory=Zoom)
    remap: Remap = field(default_factory=Remap)
    calipers: Calipers = field(default_factory=Calipers)
    text: Text = field(default_factory=Text)
    ticks: Ticks = field(default_factory=Ticks)

    def without(self, *groups: str) -> "AugmentationConfig":
        """Return the config with every effect of these groups off.

        Raises:
            InputError: a name is not in ``GROUPS``.
        """
        return self._off(*(effect for group in groups for effect in _effects(group)))

    def only(self, *groups: str) -> "AugmentationConfig":
        """Return the config with every other group off; without a name nothing is left on.

        Raises:
            InputError: a name is not in ``GROUPS``.
        """
        kept = {effect for group in groups for effect in _effects(group)}
        return self._off(*(effect for effect in EFFECTS if effect not in kept))

    def alone(self, effect: str) -> "AugmentationConfig":
        """Return the config with this effect on every frame and all others off.

        Raises:
            InputError: no such effect.
        """
        if effect not in EFFECTS:
            raise InputError(f"expected one of {EFFECTS}, got {effect!r}")
        off = self._off(*EFFECTS)
        return replace(off, **{effect: replace(getattr(self, effect), chance=1.0)})

    def _off(self, *effects: str) -> "AugmentationConfig":
        return replace(self, **{name: replace(getattr(self, name), chance=0.0) for name in effects})


def _effects(group: str) -> tuple[str, ...]:
    if group not in GROUPS:
        raise InputError(f"expected one of {tuple(GROUPS)}, got {group!r}")
    return GROUPS[group]
