"""The part of the catalog's interface for ids from before a policy of pseudonyms.

The rules in ``service.catalog.interface`` apply.
"""

from collections.abc import Mapping
from typing import Protocol

from service.catalog.given_ids.given_id_records import IdKind, RenamedIds


class GivenIdCatalog(Protocol):
    """Finds ids of subjects and studies that are stored as they were given, and renames them."""

    def given_ids(
        self, workspace_id: str, kind: IdKind, *, beginning: str, limit: int, after: str = ""
    ) -> tuple[str, ...]:
        """Ids of scans and uploaded examples that do not begin so, ascending, above ``after``."""

    def rename_ids(self, workspace_id: str, kind: IdKind, renamed: Mapping[str, str]) -> RenamedIds:
        """Store old ids as new ones, everywhere in one step; drop the saved answers.

        Scans, uploaded examples, and what predictions of a subject turned out to be. A scan of
        which the collection has the image under the new subject already stays as it is.
        """
