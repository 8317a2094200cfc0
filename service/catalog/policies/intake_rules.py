"""What a workspace lets in, whichever way it comes.

Shape suffixes: D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.catalog.plain_text import name_of
from service.catalog.records import NewScan, NewVersion, ScanImage, ScanPatch
from service.errors import PolicyRefused

RISKS = ("none", "low", "high")
WHOLE_SHARE = 0.95  # of a frame: a box of the caller that large is no region of it


class UltrasoundCheck(Protocol):
    """The test of the loaded encoder."""

    @property
    def encoder_id(self) -> str:
        """The encoder whose embeddings it tells apart."""

    def passed(self, embeddings_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """(N,) whether each passes as ultrasound. Raises InputError: another width."""


class GivenIds(Protocol):
    """Makes pseudonyms of ids; those that are pseudonyms of it already stay."""

    def subject(self, subject_id: str) -> str:
        """The pseudonym under which the subject is stored. Raises PseudonymKeyMissing."""

    def study(self, study_id: str) -> str:
        """The pseudonym under which the study is stored. Raises PseudonymKeyMissing."""

    def beginnings(self) -> tuple[str, str]:
        """How pseudonyms of subjects and of studies begin. Raises PseudonymKeyMissing."""


@dataclass(frozen=True, slots=True)
class IntakeRules:
    """The rules of a workspace for what is stored in it.

    What an older export does not tell (its risk, its regions) is refused where it matters.

    Attributes:
        pseudonyms: ids of subjects and studies are stored as these; None = as they are given.
        refuse_burned_in: lowest burned-in risk that is refused; None = any risk is accepted.
        refuse_whole_frames: whether a whole frame is refused where a region is expected.
        refuse_kept_images: whether collections may not keep pixels.
        refuse_not_ultrasound: whether a file that fails the test ``ultrasound`` is refused.
        ultrasound: None = the loaded encoder has no test of these embeddings, so all fail it.
    """

    pseudonyms: GivenIds | None = None
    refuse_burned_in: str | None = None
    refuse_whole_frames: bool = False
    refuse_kept_images: bool = False
    refuse_not_ultrasound: bool = False
    ultrasound: UltrasoundCheck | None = None

    def of_encoder(self, encoder_id: str) -> "IntakeRules":
        """The same rules for embeddings of an encoder, which only its own test can tell apart."""
        if self.ultrasound is None or self.ultrasound.encoder_id == encoder_id:
            return self
        return replace(self, ultrasound=None)

    def let_in(self, new: NewScan) -> NewScan:
        """The scan as it may be stored. Raises PolicyRefused, PseudonymKeyMissing."""
        self.require_image(new.image, new.embedding_D)
        if self.refuse_kept_images and new.image_png is not None:
            new = replace(new, image_png=None)
        return self.named(new)

    def require_image(self, image: ScanImage, embedding_D: npt.NDArray[np.float32]) -> None:
        """Raises PolicyRefused: the file may not be stored."""
        if self.refuse_burned_in is not None:
            risk = image.analysis.get("burned_in_risk", "unknown")
            is_low = risk in RISKS and RISKS.index(risk) < RISKS.index(self.refuse_burned_in)
            if not is_low:
                raise PolicyRefused(
                    f"the workspace refuses burned-in risk {risk}", "refuse_burned_in"
                )
        if self.refuse_whole_frames and _is_whole(image):
            raise PolicyRefused(
                "the workspace refuses whole frames: no region was found or asked for",
                "refuse_whole_frames",
            )
        if self.refuse_not_ultrasound and not self._passes(embedding_D):
            raise PolicyRefused(
                "the workspace refuses files that do not pass as ultrasound",
                "refuse_not_ultrasound",
            )

    def _passes(self, embedding_D: npt.NDArray[np.float32]) -> bool:
        return self.ultrasound is not None and bool(self.ultrasound.passed(embedding_D[None])[0])

    def named(self, new: NewScan) -> NewScan:
        """The scan with the ids under which it is stored. Raises PseudonymKeyMissing."""
        if self.pseudonyms is None or (new.subject_id is None and new.study_id is None):
            return new
        subject_id, study_id = self.ids(new.subject_id, new.study_id)
        return replace(new, subject_id=subject_id, study_id=study_id)

    def patch(self, patch: ScanPatch) -> ScanPatch:
        """Changes of a scan as they may be stored. Raises PseudonymKeyMissing."""
        if self.pseudonyms is None:
            return patch
        subject_id, study_id = self.ids(patch.subject_id, patch.study_id)
        return replace(patch, subject_id=subject_id, study_id=study_id)

    def version(self, version: NewVersion) -> NewVersion:
        """A version of a classifier with its uploads under the ids that are stored.

        Raises:
            PseudonymKeyMissing: the ids cannot be made.
        """
        if self.pseudonyms is None:
            return version
        examples = []
        for example in version.examples:
            if example.subject_id is not None or example.study_id is not None:
                subject_id, study_id = self.ids(example.subject_id, example.study_id)
                example = example._replace(subject_id=subject_id, study_id=study_id)
            examples.append(example)
        return replace(version, examples=tuple(examples))

    def require_collection(self, *, keep_images: bool) -> None:
        """Raises PolicyRefused: a collection may not keep images."""
        if keep_images and self.refuse_kept_images:
            raise PolicyRefused("the workspace keeps no images", "refuse_kept_images")

    def ids(self, subject_id: str | None, study_id: str | None) -> tuple[str | None, str | None]:
        """The ids under which a subject and a study are stored. Raises PseudonymKeyMissing."""
        if self.pseudonyms is None:
            return subject_id, study_id
        # In the stored form: other spellings of an id are no other patient.
        return (
            None if subject_id is None else self.pseudonyms.subject(name_of(subject_id)),
            None if study_id is None else self.pseudonyms.study(name_of(study_id)),
        )


NO_RULES = IntakeRules()


def _is_whole(image: ScanImage) -> bool:
    regions = image.analysis.get("regions", ())
    if not regions:
        return True
    frame_px = image.width_px * image.height_px
    return any(
        region.get("found") == "whole"
        or (region.get("found") == "caller" and _area_px(region) >= WHOLE_SHARE * frame_px)
        for region in regions
    )


def _area_px(region: Mapping[str, Any]) -> int:
    x0, y0, x1, y1 = region["box"]
    return int((x1 - x0) * (y1 - y0))


def rules_of(
    document: Mapping[str, Any], pseudonyms: GivenIds | None, ultrasound: UltrasoundCheck | None
) -> IntakeRules:
    """The rules in a stored document; what its ``pseudonyms`` are, the caller knows."""
    risk = document.get("refuse_burned_in")
    return IntakeRules(
        pseudonyms,
        risk if risk in RISKS else None,
        bool(document.get("refuse_whole_frames")),
        bool(document.get("refuse_kept_images")),
        bool(document.get("refuse_not_ultrasound")),
        ultrasound,
    )
