"""Agents: whom people can talk with, and every version of what each is made of.

Knows the form. What is kept, and when a change is a new version, the store knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html

from chat import models
from chat.admin.listing import person_id
from chat.core.calls import Policy
from chat.store import agents
from chat.tools.registry import all_tools

AS_THE_SITE = ("", "As the site has it")
POLICY_WORDS = {
    Policy.ASK: "The owner decides each call",
    Policy.STAFF: "Staff decide each call",
    Policy.AUTO: "Runs unasked, where the site lets it",
    Policy.NEVER: "Not for this agent",
}
TOOL_PREFIX = "tool_"
# What the form asks of a version, beside its tools.
MADE_OF = ("model", "instructions", "tool_rounds_max", "answer_timeout_s", "tokens_max_per_day")
# As much as a person may say in one message.
INSTRUCTIONS_MAX_CHARS = 32_000
# More calls than anybody would wait for, and a day.
TOOL_ROUNDS_MAX = 1_000
ANSWER_TIMEOUT_MAX_S = 86_400
# More than any model's server gives to one person on one day.
TOKENS_MAX_PER_DAY = 10**12

if TYPE_CHECKING:
    AgentModelForm = forms.ModelForm[models.Agent]
    VersionTable = admin.TabularInline[models.AgentVersion, models.Agent]
    AgentModelAdmin = admin.ModelAdmin[models.Agent]
else:
    AgentModelForm, VersionTable, AgentModelAdmin = forms.ModelForm, admin.TabularInline, admin.ModelAdmin


class AgentForm(AgentModelForm):
    """An agent with what its newest version is made of."""

    model = forms.CharField(max_length=200, required=False, help_text="Name sent upstream. Empty: the site's.")
    instructions = forms.CharField(
        required=False,
        strip=False,
        max_length=INSTRUCTIONS_MAX_CHARS,
        widget=forms.Textarea(attrs={"rows": 12, "cols": 80}),
        help_text="What the model is told before each conversation. Empty: the site's.",
    )
    tool_rounds_max = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=TOOL_ROUNDS_MAX,
        help_text="How often it may call tools in one run. Empty: the site's.",
    )
    answer_timeout_s = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=ANSWER_TIMEOUT_MAX_S,
        label="Answer time-out (s)",
        help_text="For one whole answer. Empty: the site's.",
    )
    tokens_max_per_day = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=TOKENS_MAX_PER_DAY,
        label="Tokens a day",
        help_text="Of one person, in all their conversations with it. Empty: as many as the site gives.",
    )

    class Meta:
        model = models.Agent
        fields = ("name", "description", "is_default", "is_enabled", "groups")
        labels = {"is_default": "Default", "is_enabled": "Switched on"}  # noqa: RUF012 - Django's name

    after = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = None if self.instance._state.adding else self.instance.versions.first()
        # A tool whose app is away for a while must not come back as one that is allowed.
        self.policies_of_others = {
            name: policy for name, policy in (newest.policies.items() if newest else ()) if name not in all_tools()
        }
        self.newest = None if newest is None else newest.number
        self.initial.setdefault("after", self.newest)
        for name in MADE_OF:
            if newest is not None:
                self.initial.setdefault(name, getattr(newest, name))
        for name in all_tools():
            self.fields[TOOL_PREFIX + name] = forms.ChoiceField(
                required=False,
                label=name,
                choices=[AS_THE_SITE, *((policy.value, words) for policy, words in POLICY_WORDS.items())],
                initial=newest.policies.get(name, "") if newest is not None else "",
                help_text="The stricter of this and the site's own policy holds.",
            )

    def clean_after(self) -> int | None:
        """The version that was changed, which must be the newest still."""
        after: int | None = self.cleaned_data["after"]
        if after is not None and after != self.newest:
            words = f"Version {self.newest} was saved while you changed version {after}: it stands below."
            self.add_error(
                None, f"{words} Nothing of yours was kept. Open this page again, and make your change in it."
            )
        return after

    def made_of(self) -> dict[str, Any]:
        """The columns of a version, as they were filled in."""
        given = self.cleaned_data
        chosen = {name: given.get(TOOL_PREFIX + name) for name in all_tools()}
        return {
            "model": given["model"].strip(),
            # Browsers end each line with two characters, whatever stood there.
            "instructions": given["instructions"].replace("\r\n", "\n"),
            "tool_rounds_max": given["tool_rounds_max"],
            "answer_timeout_s": given["answer_timeout_s"],
            "tokens_max_per_day": given["tokens_max_per_day"],
            "policies": self.policies_of_others | {name: policy for name, policy in chosen.items() if policy},
        }


class VersionsInline(VersionTable):
    """Every version, to be read."""

    model = models.AgentVersion
    fields = readonly_fields = (
        "number",
        "model",
        "instructions",
        "policies",
        "tool_rounds_max",
        "answer_timeout_s",
        "tokens_max_per_day",
        "made_by",
        "made_at",
    )
    extra = 0
    can_delete = False
    verbose_name_plural = "versions (a conversation keeps the one that it started with)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.AgentVersion]:
        """With what names each, asked for once."""
        return super().get_queryset(request).select_related("agent", "made_by")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are made by changing the agent."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was said with one of them stays true."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever sees the agent sees them."""
        return bool(request.user.has_perm("chat.view_agent"))


@admin.register(models.Agent)
class AgentAdmin(AgentModelAdmin):
    """The list of agents, and the page of each."""

    form = AgentForm
    inlines = (VersionsInline,)
    # Few, and counted once.
    show_full_result_count = False
    list_display = ("name", "description", "is_default", "is_enabled", "talked")
    search_fields = ("name", "description")
    filter_horizontal = ("groups",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may use it, what it is made of, and its tools; to whom can't change it, its versions say these two."""
        of_the_row = (None, {"fields": AgentForm.Meta.fields})
        if not (self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)):
            return (of_the_row,)
        return (
            of_the_row,
            (
                "What it is made of",
                {
                    "description": "A change is a new version, for conversations that start from then on.",
                    "fields": (*MADE_OF, "after"),
                },
            ),
            ("Tools", {"fields": tuple(TOOL_PREFIX + name for name in all_tools())}),
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form as it is: what it has beside the row's columns is its own."""
        return super().get_form(request, obj, change=change, **{**kwargs, "fields": AgentForm.Meta.fields})

    @admin.display(description="conversations")
    def talked(self, row: models.Agent) -> str:
        """The way to those that were started with it."""
        address = reverse("admin:chat_conversation_changelist", query={"agent": row.pk})
        return format_html('<a href="{}">Show</a>', address)

    def save_model(self, request: HttpRequest, obj: models.Agent, form: Any, change: bool) -> None:
        """By the store, which makes a new version of what has changed."""
        agents.save(obj, form.made_of(), by_id=person_id(request), after=form.cleaned_data["after"])

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The form. Of two who save at the same time, one is told in words."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except agents.AgentChangedError as why:
            messages.error(request, str(why))
            return redirect(request.get_full_path())

    def get_actions(self, request: HttpRequest) -> Any:
        """Each is removed by itself, so that it can say why it stays."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Remove one that nobody has talked with; one that is needed stays, and the page says what to do."""
        agent = self.get_object(request, object_id)
        try:
            if agent is not None and agents.is_used(agent):
                raise agents.AgentUsedError
            return super().delete_view(request, object_id, extra_context)
        except agents.AgentUsedError as why:
            if not self.has_delete_permission(request, agent):
                raise PermissionDenied from None
            messages.error(request, str(why))
            return redirect("admin:chat_agent_change", object_id)

    def delete_model(self, request: HttpRequest, obj: models.Agent) -> None:
        """By the store, which keeps what is needed."""
        agents.remove(obj)
