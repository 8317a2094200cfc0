"""The policies of workspaces: read from the catalog, and kept while their version is the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.access.access_limits import RATES, STORED, Limits, limits_of, strictest
from service.access.pseudonyms import STUDY, SUBJECT, Pseudonyms, is_own, read_pseudonyms
from service.catalog.interface import Catalog
from service.catalog.policies.intake_rules import IntakeRules, UltrasoundCheck, rules_of
from service.catalog.policies.policy_records import StoredPolicy, UnfitRules
from service.errors import InputError, PolicyRefused, PseudonymKeyMissing

ALL_LIMITS = (*RATES, *STORED)
PARTS = ("intake", "limits", "each_key", "keys")
SWITCHES = (
    "pseudonyms",
    "refuse_whole_frames",
    "refuse_kept_images",
    "refuse_not_ultrasound",
)
MAX_REMEMBERED = 10_000  # workspaces
_RISKS = ("low", "high")


class WorkspacePseudonyms:
    """Pseudonyms under the key of one workspace, whose file is read when it is needed.

    Args:
        file: None = the settings name no folder.
        key_name: of the key that the policy was made with; another one is refused, because it
            would give every patient another pseudonym. None = any.
    """

    def __init__(self, file: Path | None, key_name: str | None) -> None:
        self._file = file
        self._key_name = key_name
        self._under: Pseudonyms | None = None

    def subject(self, subject_id: str) -> str:
        """As ``GivenIds``; a pseudonym under the key needs no file."""
        if self._key_name is not None and is_own(SUBJECT, self._key_name, subject_id):
            return subject_id
        return self.load().of_given_subject(subject_id)

    def study(self, study_id: str) -> str:
        """As ``subject``, of studies."""
        if self._key_name is not None and is_own(STUDY, self._key_name, study_id):
            return study_id
        return self.load().of_given_study(study_id)

    def beginnings(self) -> tuple[str, str]:
        """As ``GivenIds``."""
        name = self._key_name or self.load().key_name
        return f"{SUBJECT}-{name}-", f"{STUDY}-{name}-"

    def load(self) -> Pseudonyms:
        """The key. Raises PseudonymKeyMissing."""
        if self._under is None:
            self._under = self._read()
        return self._under

    def _read(self) -> Pseudonyms:
        if self._file is None:
            raise PseudonymKeyMissing("expected SONOPROBE_PSEUDONYM_KEY_DIR, got nothing")
        try:
            under = read_pseudonyms(self._file)
        except (OSError, InputError) as error:
            raise PseudonymKeyMissing(
                "the key of the workspace's pseudonyms cannot be read"
            ) from error
        if self._key_name not in (None, under.key_name):
            raise PseudonymKeyMissing(
                f"expected the key {self._key_name} of the workspace's pseudonyms, "
                f"got {under.key_name}"
            )
        return under


@dataclass(frozen=True)
class WorkspacePolicy:
    """What a workspace may do, and what it lets in.

    Attributes:
        stored: as the catalog holds it.
        limits: of the workspace: the strictest of its own, the granted and those of the settings,
            where the granted take the place of those of the settings.
        each_key: of every key.
        keys: key id -> further limits of this key.
    """

    stored: StoredPolicy
    rules: IntakeRules = field(default_factory=IntakeRules)
    limits: Limits = field(default_factory=dict)
    each_key: Limits = field(default_factory=dict)
    keys: Mapping[str, Limits] = field(default_factory=dict)

    @property
    def has_limits(self) -> bool:
        """Whether the workspace or any key is limited."""
        return bool(self.limits or self.each_key or self.keys)

    def limits_of_key(self, key_id: str) -> Limits:
        """The rates of one key, and what it may store."""
        own = self.keys.get(key_id)
        return self.each_key if own is None else strictest(self.each_key, own)


class PolicyStore:
    """Knows the policies of all workspaces. Thread safe; its methods block.

    Args:
        key_limits, workspace_limits: of the settings.
        pseudonym_keys: folder of the keys of workspaces; None = there are none.
        ultrasound: the test of the loaded encoder; None = it has none.

    Raises:
        InputError: limits of the settings are not valid.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        key_limits: Mapping[str, Any],
        workspace_limits: Mapping[str, Any],
        pseudonym_keys: Path | None = None,
        ultrasound: UltrasoundCheck | None = None,
    ) -> None:
        self._catalog = catalog
        self._key_limits = limits_of(key_limits, ALL_LIMITS, "key_limits")
        self._workspace_limits = limits_of(workspace_limits, ALL_LIMITS, "workspace_limits")
        self._pseudonym_keys = pseudonym_keys
        self._ultrasound = ultrasound
        self._known: dict[str, WorkspacePolicy] = {}

    def current(self, workspace_id: str, version: int | None = None) -> WorkspacePolicy:
        """The policy that holds now.

        Args:
            version: that the caller has just read from the catalog; None = read it here.
        """
        known = self._known.get(workspace_id)
        if known is not None and known.stored.version == version:
            return known
        stored = self._catalog.policy(workspace_id)
        if known is None or known.stored != stored:
            known = self._parsed(workspace_id, stored)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[workspace_id] = known
        return known

    def replace(
        self, workspace_id: str, document: Mapping[str, Any], *, if_version: int | None
    ) -> WorkspacePolicy:
        """Store what the administrators of a workspace want.

        Raises:
            PolicyRefused: it wants pseudonyms, and the workspace has no key for them.
            InputError: limits or rules are not valid.
            PreconditionFailed: ``if_version`` is not the current version.
        """
        document = self._checked(workspace_id, document)
        stored = self._catalog.set_policy(workspace_id, document=document, if_version=if_version)
        return self.current(workspace_id, stored.version)

    def grant(self, workspace_id: str, limits: Mapping[str, Any]) -> WorkspacePolicy:
        """Store the limits that the operator sets for a workspace instead of the settings'.

        Raises:
            InputError: a limit is not valid. UnknownItem: no such workspace.
        """
        granted = limits_of(limits, ALL_LIMITS, "granted limits")
        stored = self._catalog.set_policy(workspace_id, granted=granted)
        return self.current(workspace_id, stored.version)

    def unfit(self, policy: WorkspacePolicy, workspace_id: str) -> Mapping[str, int]:
        """How many stored scans break each rule of the policy; it reads all of them."""
        rules = policy.rules
        risk = rules.refuse_burned_in
        wanted = UnfitRules(
            pseudonyms=None if rules.pseudonyms is None else rules.pseudonyms.beginnings(),
            risks=() if risk is None else _RISKS[_RISKS.index(risk) :],
            whole_frames=rules.refuse_whole_frames,
            images=rules.refuse_kept_images,
        )
        return self._catalog.unfit_scans(workspace_id, wanted)

    def _checked(self, workspace_id: str, document: Mapping[str, Any]) -> dict[str, Any]:
        _require_names(document, PARTS, "the policy")
        if not all(isinstance(part, Mapping) for part in document.values()):
            raise InputError("the policy: expected objects")
        intake = dict(document.get("intake", {}))
        intake.pop("pseudonym_key", None)
        _require_rules(intake)
        if intake.get("pseudonyms"):
            old = self._catalog.policy(workspace_id).document.get("intake", {})
            keys = WorkspacePseudonyms(
                self._key_file(workspace_id),
                old.get("pseudonym_key") if old.get("pseudonyms") else None,
            )
            try:
                intake["pseudonym_key"] = keys.load().key_name
            except PseudonymKeyMissing as error:
                raise PolicyRefused(
                    f"no pseudonyms without a key: {error}", "pseudonyms"
                ) from error
        if intake.get("refuse_not_ultrasound") and self._ultrasound is None:
            raise PolicyRefused(
                "the loaded encoder has no test for ultrasound", "refuse_not_ultrasound"
            )
        keys_of = document.get("keys", {})
        return {
            "intake": intake,
            "limits": limits_of(document.get("limits", {}), ALL_LIMITS, "limits"),
            "each_key": limits_of(document.get("each_key", {}), ALL_LIMITS, "each_key"),
            "keys": {name: limits_of(own, ALL_LIMITS, "keys") for name, own in keys_of.items()},
        }

    def _parsed(self, workspace_id: str, stored: StoredPolicy) -> WorkspacePolicy:
        document = stored.document
        intake = document.get("intake", {})
        pseudonyms = None
        if intake.get("pseudonyms"):
            file = self._key_file(workspace_id)
            pseudonyms = WorkspacePseudonyms(file, intake.get("pseudonym_key"))
        from_outside = {**self._workspace_limits, **stored.granted}
        return WorkspacePolicy(
            stored,
            rules_of(intake, pseudonyms, self._ultrasound),
            strictest(from_outside, document.get("limits", {})),
            strictest(self._key_limits, document.get("each_key", {})),
            document.get("keys", {}),
        )

    def _key_file(self, workspace_id: str) -> Path | None:
        if self._pseudonym_keys is None:
            return None
        for workspace in self._catalog.list_workspaces():
            if workspace.workspace_id == workspace_id:
                return self._pseudonym_keys / f"{workspace.name}.key"
        return None


def _require_names(document: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    unknown = len(set(document) - set(names))
    if unknown:
        raise InputError(f"{where}: expected only {', '.join(names)}, got {unknown} unknown")


def _require_rules(intake: Mapping[str, Any]) -> None:
    """Raises InputError: an unknown rule, or a value that is none of its values."""
    _require_names(intake, (*SWITCHES, "refuse_burned_in"), "intake")
    if not all(isinstance(intake.get(name, False), bool) for name in SWITCHES):
        raise InputError(f"intake: expected true or false for {', '.join(SWITCHES)}")
    if intake.get("refuse_burned_in") not in (None, *_RISKS):
        raise InputError(f"intake: expected refuse_burned_in to be one of {', '.join(_RISKS)}")
