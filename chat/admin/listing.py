"""Lists that stay fast on large tables: bounded counts, dates by an index, no texts; and read-only pages.

Knows Django's admin. Must not know which tables there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Exists, Max, Min, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

# Counting further takes longer than the page, and nobody turns to page 201.
LISTED_MAX = 10_000
PER_PAGE = 50

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
    AnyQuerySet = QuerySet[Any]
else:
    AnyAdmin, AnyPaginator, AnyQuerySet = admin.ModelAdmin, Paginator, QuerySet


class BoundedPaginator(AnyPaginator):
    """Counts no further than it lists."""

    @cached_property
    def count(self) -> int:
        """How many there are, up to the bound."""
        rows = self.object_list
        assert isinstance(rows, QuerySet)  # noqa: S101 - the admin's lists are querysets
        return int(rows.order_by()[:LISTED_MAX].count())


class IndexedDates(AnyQuerySet):
    """Finds the years, months or days of a list by a look into the index for each, not by reading every row."""

    def datetimes(self, field_name: str, kind: str, *args: Any, **kwargs: Any) -> list[datetime]:  # type: ignore[override]
        """The periods in which there is any row, in order."""
        bounds = self.order_by().aggregate(first=Min(field_name), last=Max(field_name))
        if bounds["first"] is None:
            return []
        periods = list(_periods(bounds["first"], bounds["last"], kind))
        probes = {
            f"period_{number}": Exists(
                self.order_by().filter(**{f"{field_name}__gte": start, f"{field_name}__lt": end})
            )
            for number, (start, end) in enumerate(periods)
        }
        [found] = self.model._default_manager.order_by().annotate(**probes).values_list(*probes)[:1]
        return [start for (start, _), is_there in zip(periods, found, strict=True) if is_there]


def _periods(first: datetime, last: datetime, kind: str) -> Iterator[tuple[datetime, datetime]]:
    """Each year, month or day between two times, with its beginning and the next one's, in UTC."""
    start = datetime(first.year, 1, 1, tzinfo=UTC)
    if kind != "year":
        start = start.replace(month=first.month)
    if kind == "day":
        start = start.replace(day=first.day)
    while start <= last:
        if kind == "year":
            end = start.replace(year=start.year + 1)
        elif kind == "month":
            end = (start + timedelta(days=31)).replace(day=1)
        else:
            end = start + timedelta(days=1)
        yield start, end
        start = end


class BoundedList(ChangeList):
    """A list that says when it ends before everything was listed.

    is_bounded: whether there may be more than are counted. searched: what a search looked at, in words.
    """

    is_bounded = False
    searched = ""

    def get_filters(self, request: HttpRequest) -> Any:
        """What the address asks for, where it can be asked for."""
        try:
            return super().get_filters(request)
        except OverflowError as fault:
            # A year that no clock reaches.
            raise IncorrectLookupParameters(fault) from fault

    def get_results(self, request: HttpRequest) -> None:
        """The rows of this page."""
        super().get_results(request)
        self.is_bounded = self.result_count >= LISTED_MAX
        self.searched = getattr(request, "searched", "")


class ReadOnlyAdmin(AnyAdmin):
    """Shows rows to whoever may view them; nobody can add, change or delete one here.

    columns: the fields that the list loads. lookups: what an address may ask for besides its filters and dates.
    """

    columns: tuple[str, ...] = ()
    lookups: tuple[str, ...] = ()
    paginator = BoundedPaginator
    show_full_result_count = False
    list_per_page = PER_PAGE
    list_max_show_all = 0
    show_facets = ShowFacets.NEVER
    list_display_links: Any = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The class of the list."""
        return BoundedList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows, with no more than the list shows."""
        rows: QuerySet[Any] = IndexedDates(self.model, using=None).order_by(*(self.ordering or ("-pk",)))
        related = {column.rsplit("__", 1)[0] for column in self.columns if "__" in column}
        if related:
            rows = rows.select_related(*sorted(related))
        return rows.only(*self.columns)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether an address may ask for it: only for what an index answers."""
        of_filters = {getattr(one, "parameter_name", "") for one in self.list_filter}
        is_date = bool(self.date_hierarchy) and lookup.startswith(f"{self.date_hierarchy}__")
        return lookup in of_filters or lookup in self.lookups or is_date

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody."""
        return False

    def check_may(self, request: HttpRequest, *permissions: str) -> None:
        """Raises PermissionDenied when the person lacks one of these permissions of this app."""
        if not all(may(request, permission) for permission in permissions):
            raise PermissionDenied

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse | None:
        """What an action answers. What is no id is nobody's."""
        try:
            return super().response_action(request, *args, **kwargs)
        except ValidationError:
            raise Http404 from None

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The log is the history; the admin keeps none of its own, as nothing is changed here."""
        raise PermissionDenied


class Lines(ReadOnlyAdmin):
    """Rows that are read in the list and have no page of their own."""

    sortable_by = ()
    list_display_links = None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Nothing: the list says it all."""
        raise PermissionDenied


def may(request: HttpRequest, permission: str) -> bool:
    """Whether the person has this permission of this app."""
    return request.user.has_perm(f"chat.{permission}")


def person_id(request: HttpRequest) -> int:
    """Who asks."""
    assert request.user.pk is not None  # noqa: S101 - behind the admin's log-in
    return int(request.user.pk)


def badge(words: object, kind: str = "") -> SafeString:
    """A word with a colour behind it: `good`, `warn`, `bad` or none."""
    return format_html('<span class="badge {}">{}</span>', kind, words)
