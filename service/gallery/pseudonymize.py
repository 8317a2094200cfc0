"""Giving pseudonyms to the ids that a workspace stored before its policy demanded them.

Until then one patient may be two: under the id as it was given, and under its pseudonym.
"""

from collections.abc import Callable
from typing import get_args

from service.catalog.given_ids.given_id_records import IdKind, RenamedIds
from service.catalog.interface import Catalog
from service.catalog.policies.intake_rules import GivenIds
from service.catalog.policies.policy_records import UnfitRules
from service.errors import Conflict

IDS_AT_ONCE = 100  # in one write, for which others wait


def pseudonyms_of(catalog: Catalog, workspace_id: str) -> GivenIds:
    """The pseudonyms of a workspace. Raises Conflict: its policy makes none."""
    pseudonyms = catalog.intake_rules(workspace_id).pseudonyms
    if pseudonyms is None:
        raise Conflict("the policy of the workspace makes no pseudonyms")
    return pseudonyms


def pseudonymize(
    catalog: Catalog, workspace_id: str, report: Callable[[int, int], None]
) -> RenamedIds:
    """Rename every id that is no pseudonym. It may stop anywhere and begin again.

    Args:
        report: called after each step with the scans that are done, and all that there were.

    Raises:
        Conflict: the policy of the workspace makes no pseudonyms.
        PseudonymKeyMissing: it has another key, or none.
    """
    pseudonyms = pseudonyms_of(catalog, workspace_id)
    beginnings = pseudonyms.beginnings()
    counted = catalog.unfit_scans(workspace_id, UnfitRules(pseudonyms=beginnings))["pseudonyms"]
    renamed = RenamedIds()
    of_kind = dict(zip(get_args(IdKind), (pseudonyms.subject, pseudonyms.study), strict=True))
    for kind, beginning in zip(get_args(IdKind), beginnings, strict=True):
        after = ""
        while given := catalog.given_ids(
            workspace_id, kind, beginning=beginning, limit=IDS_AT_ONCE, after=after
        ):
            pairs = {old: of_kind[kind](old) for old in given}
            renamed += catalog.rename_ids(workspace_id, kind, pairs)
            after = given[-1]
            # A scan with both ids is renamed twice.
            report(min(renamed.scans, counted), counted)
    return renamed
