"""The scans that a search leaves out, where its filter names only those.

To name the others of a million takes a hundred times longer than the search itself.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from service.catalog.filter_records import ScanFilter
from service.catalog.interface import Catalog


def left_out(where: ScanFilter) -> list[ScanFilter]:
    """Filters of the subjects and studies that do not pass; none if anything else decides."""
    if not replace(where, not_subject_ids=(), not_study_ids=()).is_empty:
        return []
    filters = [ScanFilter(subject_ids=where.not_subject_ids)] if where.not_subject_ids else []
    return filters + ([ScanFilter(study_ids=where.not_study_ids)] if where.not_study_ids else [])


def rows_of(
    catalog: Catalog, workspace_id: str, collection: str, filters: Sequence[ScanFilter]
) -> npt.NDArray[np.int64]:
    """Row ids of the scans that pass one of the filters, ascending. Raises UnknownItem."""
    rows = [catalog.row_ids_where(workspace_id, collection, one) for one in filters]
    return np.unique(np.concatenate(rows))
