"""What a fit does with views of its examples: what the request says, else what it can afford.

Shape suffixes: N examples, V views of each, D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from service.arrays import Floats
from service.catalog.codec import STORED_VIEWS
from service.catalog.interface import Catalog
from service.classifiers.examples import Examples
from service.classifiers.views.example_views import ExampleViews, means_of
from service.classifiers.views.kept_views import KeptViews, ViewMaker
from service.errors import InputError, ServiceError, Stopping, TooManyItems, ViewsMissing

Views: TypeAlias = bool | Literal["examples", "auto"]
VIEWS = "views"  # setting of a version: True, "examples" or False; none before there was a default
CHOSEN_BY = "views_chosen_by"  # setting of a version whose request left the choice to the service
DEFAULT_MAX_S = 30.0  # for the views of a fit that nobody asked for; then it does without
DEFAULT_HEADS = 5  # labels of as many examples as one head may have; each takes about a second


@dataclass(frozen=True, slots=True)
class ChosenViews:
    """What a version learns.

    Attributes:
        views: True = the means of views, ``examples`` = the views, False = single embeddings.
        rows_NVD: the embeddings of the views; None with False.
        chosen_by: the rule of the default; None = the request chose.
    """

    views: bool | Literal["examples"] = False
    rows_NVD: Floats | None = None
    chosen_by: str | None = None

    def to_settings(self) -> dict[str, Any]:
        """The settings that a version stores."""
        chosen_by = {} if self.chosen_by is None else {CHOSEN_BY: self.chosen_by}
        return {VIEWS: self.views, **chosen_by}


def wanted_views(settings: Mapping[str, Any]) -> Views:
    """What the next version of one with these settings learns, unless its request says more.

    A version that was made before there was a default is followed by one without views.
    """
    return "auto" if CHOSEN_BY in settings else settings.get(VIEWS) or False


class ViewsChoice:
    """Blocking; for threads beside the event loop.

    Args:
        maker: None = this program has no encoder.
        max_examples: of a fit without views.
        max_default: examples of a fit that learns views by default; 0 = none does.
        default_max_s: how long making such views may take.
    """

    def __init__(
        self,
        catalog: Catalog,
        maker: ViewMaker | None,
        *,
        max_examples: int,
        max_default: int,
        default_max_s: float = DEFAULT_MAX_S,
    ) -> None:
        self._views = None if maker is None else ExampleViews(catalog, KeptViews(maker))
        self._max_views = max_examples // STORED_VIEWS
        self.max_default = max_default
        self._default_max_s = default_max_s

    def of(
        self,
        workspace_id: str,
        wanted: Views,
        examples: Examples,
        *,
        heads: int = 1,
        has_unlabelled: bool = False,
    ) -> ChosenViews:
        """Choose, and make the views.

        Args:
            heads: labels of a multi-label classifier, each of which is fitted by itself.

        Raises:
            InputError: unlabelled scans beside views that are asked with.
            TooManyItems: more examples than a fit with views may have.
            ViewsMissing, ServiceError: the request asks for views, as ``ExampleViews.of``.
        """
        if wanted == "auto":
            return self._by_default(workspace_id, examples, heads)
        if wanted is False:
            return ChosenViews()
        if wanted is True and has_unlabelled:
            # The scans have single embeddings: those would be compared with means of views.
            raise InputError("unlabelled scans take part in a fit with views: examples, not true")
        if wanted == "examples" and len(examples) > self._max_views:
            raise TooManyItems(
                f"expected at most {self._max_views} examples with views, each of which is fitted "
                f"to, got {len(examples)}"
            )
        return ChosenViews(wanted, self._made(workspace_id, examples))

    def query_rows(self, workspace_id: str, asks_views: bool, examples: Examples) -> Floats:
        """What a head is asked with: embeddings, or the means of those of views.

        Raises:
            ViewsMissing, ServiceError: as ``ExampleViews.of``.
        """
        if not asks_views:
            return examples.embeddings_ND
        return means_of(self._made(workspace_id, examples))

    def _made(self, workspace_id: str, examples: Examples) -> Floats:
        if self._views is None:
            raise ViewsMissing("this program has no encoder to make views with")
        return self._views.of(workspace_id, examples)

    def _by_default(self, workspace_id: str, examples: Examples, heads: int) -> ChosenViews:
        """``examples`` where it can be done in some seconds; a default never fails a fit."""
        if not self.max_default:
            return _without("no views unless they are asked for")
        count, most = len(examples), min(self.max_default, self._max_views)
        if count > most:
            return _without(f"more than {most} examples")
        if count * heads > most * DEFAULT_HEADS:
            return _without(f"examples times labels are more than {most * DEFAULT_HEADS}")
        if self._views is None:
            return _without("no encoder to make views with")
        try:
            pixels, missing = self._views.pixels_of(workspace_id, examples)
            if missing:
                return _without(f"{missing} of {count} examples have no views")
            rows_NVD = self._views.made(examples, pixels, max_s=self._default_max_s)
        except Stopping:
            raise
        except ServiceError as error:  # no time, a rate that is used up, a picture of other limits
            return _without(f"the views could not be made ({error.code})")
        return ChosenViews("examples", rows_NVD, "default: every example has views")


def _without(reason: str) -> ChosenViews:
    return ChosenViews(False, None, f"default: {reason}")
