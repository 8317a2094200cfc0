"""Whether the files of a fit are embedded with their views, which is settled before the fit."""

from typing import Literal, TypeAlias

from service.catalog.interface import Catalog
from service.catalog.records import ClassifierVersion
from service.classifiers.requests import ExampleSelection
from service.classifiers.store import ClassifierStore
from service.classifiers.views.chosen_views import VIEWS, Views, wanted_views

ViewsOfUploads: TypeAlias = bool | Literal["stills"]  # of all files, or of single frames alone


class UploadViews:
    """Blocking.

    By default a clip gets no views, because each of its frames would take seven passes; nor do
    files beside examples that cannot have views, because theirs would be made in vain.
    """

    def __init__(self, catalog: Catalog, store: ClassifierStore) -> None:
        self._catalog = catalog
        self._store = store

    def of_fit(
        self, workspace_id: str, views: Views | None, stored: ExampleSelection, uploads: int
    ) -> ViewsOfUploads:
        """For a new classifier. Raises UnknownItem, EncoderMismatch: a collection."""
        if views is not None and views != "auto":
            return bool(views)
        return self._by_default(workspace_id, stored, uploads)

    def of_change(
        self,
        workspace_id: str,
        views: Views | None,
        base: ClassifierVersion,
        stored: ExampleSelection,
        uploads: int,
    ) -> ViewsOfUploads:
        """For a version that starts from ``base``. Raises as ``of_fit``."""
        wanted = wanted_views(base.settings) if views is None else views
        if wanted != "auto":
            return bool(wanted)
        if views is None and not base.settings[VIEWS]:
            return False  # an example of the base has no views, or they are too many
        return self._by_default(workspace_id, stored, uploads + base.examples)

    def _by_default(
        self, workspace_id: str, stored: ExampleSelection, others: int
    ) -> ViewsOfUploads:
        count, most = others + len(stored.scans), self._store.views.max_default
        names = {scan.collection for scan in stored.scans}
        if stored.collection is not None and (stored.task is not None or stored.tasks):
            names.add(stored.collection)
            self._store.sources.check_collection(workspace_id, stored.collection)
            if count <= most:  # its labels may be those of a million scans
                count += len(self._store.sources.labels_of(workspace_id, stored))
        if count > most:
            return False
        keep = (self._catalog.get_collection(workspace_id, name).keep_images for name in names)
        return "stills" if all(keep) else False
