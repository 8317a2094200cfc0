"""What holds for a workspace, wired for one service: policies, quotas and the ids at the door.

Shape suffixes: D embedding width.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.access.access_limits import RATES, STORED
from service.access.keys import Caller
from service.access.policy_store import PolicyStore, WorkspacePolicy
from service.access.quotas import PAYER, PAYING, Owners, Quotas
from service.catalog.interface import Catalog
from service.catalog.plain_text import name_of
from service.catalog.policies.intake_rules import NO_RULES, IntakeRules, UltrasoundCheck
from service.catalog.policies.policy_records import AdmitUsage
from service.catalog.records import Author, ScanImage

_RULES: ContextVar[IntakeRules] = ContextVar("rules", default=NO_RULES)


class HeldRequest:
    """The context of a request: who pays for what it embeds, and what it may store."""

    __slots__ = ("_key_id", "_owners", "_rules", "_tokens")

    def __init__(self, owners: Owners, key_id: str | None, rules: IntakeRules) -> None:
        self._owners = owners
        self._key_id = key_id
        self._rules = rules

    def __enter__(self) -> None:
        self._tokens = (
            PAYING.set(self._owners),
            PAYER.set(self._key_id),
            _RULES.set(self._rules),
        )

    def __exit__(self, *error: object) -> None:
        paying, payer, rules = self._tokens
        PAYING.reset(paying)
        PAYER.reset(payer)
        _RULES.reset(rules)


@dataclass(frozen=True, slots=True)
class WorkspaceRules:
    """The rules of all workspaces."""

    policies: PolicyStore
    quotas: Quotas

    def of(self, caller: Caller) -> WorkspacePolicy:
        """The policy that holds for a request. Blocks only if it has changed."""
        return self.policies.current(caller.workspace_id, caller.policy_version)

    def holding(self, caller: Caller, policy: WorkspacePolicy) -> "HeldRequest":
        """Count a request, and hold the block that works on it to the policy of its workspace.

        Raises:
            RateLimited: it is one too many.
        """
        owners = self.quotas.count_request(caller, policy)
        return HeldRequest(owners, caller.author.key_id, policy.rules)

    def going_on(self, caller: Caller, policy: WorkspacePolicy) -> "HeldRequest":
        """As ``holding`` for a request that was counted before and lasts."""
        owners = self.quotas.owners_of(caller, policy)
        return HeldRequest(owners, caller.author.key_id, policy.rules)

    @contextmanager
    def paying_for(self, workspace_id: str, author: Author) -> Iterator[None]:
        """Count what the block embeds for the author, as if their request did it. Blocks."""
        policy = self.policies.current(workspace_id)
        token = PAYING.set(self.quotas.owners_for(workspace_id, author.key_id, policy))
        try:
            yield
        finally:
            PAYING.reset(token)

    def intake(self, workspace_id: str) -> IntakeRules:
        """What the workspace lets in now. Blocks."""
        return self.policies.current(workspace_id).rules

    def payer(self) -> str | None:
        """The key of the current request."""
        return PAYER.get()

    def admission(self, workspace_id: str, key_id: str | None = None) -> AdmitUsage | None:
        """See ``Quotas.admission``."""
        return self.quotas.admission(workspace_id, key_id)


class RuleSettings(Protocol):
    """The settings of the same names."""

    @property
    def key_limits(self) -> Mapping[Any, float]:
        """Rates of one key, and what it may store."""

    @property
    def workspace_limits(self) -> Mapping[Any, float]:
        """Rates of one workspace, and what it may store."""

    @property
    def pseudonym_key_dir(self) -> Path | None:
        """Folder of the keys of pseudonyms."""


class LimitMetrics(Protocol):
    """What counts refusals by limit."""

    def limited(self, limit: str) -> None:
        """Count a refusal."""

    def watch_limits(self, names: Iterable[str]) -> None:
        """Show these limits before they refuse anything."""


def workspace_rules(
    catalog: Catalog,
    settings: RuleSettings,
    metrics: LimitMetrics | None = None,
    ultrasound: UltrasoundCheck | None = None,
) -> WorkspaceRules:
    """The rules over a catalog, which obeys them. Raises InputError: a limit is not valid."""
    policies = policy_store(catalog, settings, ultrasound)
    if metrics is None:
        quotas = Quotas(catalog, policies)
    else:
        metrics.watch_limits((*RATES, *STORED))
        quotas = Quotas(catalog, policies, on_limited=metrics.limited)
    rules = WorkspaceRules(policies, quotas)
    catalog.obey(rules)
    return rules


def policy_store(
    catalog: Catalog, settings: RuleSettings, ultrasound: UltrasoundCheck | None = None
) -> PolicyStore:
    """The policies over a catalog. Raises InputError: a limit is not valid."""
    return PolicyStore(
        catalog,
        key_limits=settings.key_limits,
        workspace_limits=settings.workspace_limits,
        pseudonym_keys=settings.pseudonym_key_dir,
        ultrasound=ultrasound,
    )


# the rules of the current request ---------------------------------------------------------------


def require_storable(image: ScanImage, embedding_D: npt.NDArray[np.float32]) -> None:
    """Raises PolicyRefused: the workspace does not let the file in."""
    _RULES.get().require_image(image, embedding_D)


def stored_subject(subject_id: str) -> str:
    """The id under which the current request stores a subject. Raises PseudonymKeyMissing."""
    return stored_name("subject", subject_id)


def stored_study(study_id: str) -> str:
    """As ``stored_subject``, of a study."""
    return stored_name("study", study_id)


def stored_name(kind: str, name: str, rules: IntakeRules | None = None) -> str:
    """What a workspace stores for a ``subject`` or a ``study``; names of other kinds stay.

    Args:
        rules: of the workspace; None = those of the current request.

    Raises:
        PseudonymKeyMissing: the pseudonym cannot be made.
    """
    pseudonyms = (_RULES.get() if rules is None else rules).pseudonyms
    if pseudonyms is None or kind not in ("subject", "study"):
        return name
    make = pseudonyms.subject if kind == "subject" else pseudonyms.study
    return make(name_of(name))


def sought_subjects(subject_ids: Iterable[str]) -> tuple[str, ...]:
    """All ids under which the subjects may be stored: also as given, from before the policy."""
    given = tuple(subject_ids)
    return tuple(dict.fromkeys((*map(stored_subject, given), *given)))


def sought_studies(study_ids: Iterable[str]) -> tuple[str, ...]:
    """As ``sought_subjects``, of studies."""
    given = tuple(study_ids)
    return tuple(dict.fromkeys((*map(stored_study, given), *given)))
