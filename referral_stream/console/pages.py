"""The pages: each handler reads, and gives a template what it has read. Every state of a page is in its address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, get_args
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.response import Redirect, ServerSentEvent, Template
from litestar.response.sse import ServerSentEventMessage

from referral_stream.console.controls import SEGMENTS, ControlAction, ControlVerb, NotPossible
from referral_stream.console.customer import customer_context
from referral_stream.console.filters import FILTERS, GATES, OUTCOMES, RANGES, decision_filter
from referral_stream.console.login import LOGIN, within
from referral_stream.console.now import now_context, until_changed
from referral_stream.console.orders import audit_of, carry_out, done_by, said_of
from referral_stream.console.parts import Console, console_of
from referral_stream.console.policies import changes, compared, described, keep, versions
from referral_stream.console.rendering import ZONE_COOKIE, ZONES, Clockwork
from referral_stream.console.security import OPEN, Visitor, operators_only
from referral_stream.policy_file.reading import PolicyProblem
from referral_stream.policy_file.settings import settings_of
from referral_stream.runtime.topics_admin import TopicsProblem

AnyRequest = Request[Any, Any, Any]
_COMPARISONS_A_MINUTE: Final = 60
_YEAR: Final = 365 * 86_400
_LETTERS_SHOWN: Final = 200


def page(request: AnyRequest, name: str, *, here: str, status: int = 200, **context: Any) -> Template:
    """A page with what every page shows: the visitor, the zone, the place in the menu."""
    visitor: Visitor = request.user
    now = console_of(request).clock.now()
    common = {"visitor": visitor, "zone": Clockwork.of(request), "here": here, "now": now}
    return Template(name, context={**common, **context}, status_code=status)


# ----------------------------------------------------------------------------------------------------- times and health


@post("/zone", include_in_schema=False, status_code=303)
async def choose_zone(request: AnyRequest) -> Redirect:
    """In whose zone times are shown, from now on in this browser."""
    form = await request.form()
    choice = str(form.get("zone") or "")
    response = Redirect(within(str(form.get("next") or "")) or "/", status_code=303)
    if choice in ZONES:
        secure = console_of(request).settings.is_secure
        response.set_cookie(key=ZONE_COOKIE, value=choice, max_age=_YEAR, path="/", samesite="lax", secure=secure)
    return response


@get("/live", opt={OPEN: True}, include_in_schema=False)
async def live() -> dict[str, bool]:
    return {"live": True}


@get("/ready", opt={OPEN: True}, include_in_schema=False)
async def ready(request: AnyRequest) -> dict[str, bool]:
    await console_of(request).reader.progress()
    return {"ready": True}


# ------------------------------------------------------------------------------------------------------------------ now


@get("/", include_in_schema=False)
async def now_page(request: AnyRequest) -> Template:
    return page(request, "now.html", here="now", **await now_context(console_of(request)))


@get("/stream/now", include_in_schema=False)
async def now_stream(request: AnyRequest) -> ServerSentEvent:
    """The body of the page, whenever it has changed."""
    console, zone, visitor = console_of(request), Clockwork.of(request), request.user
    engine = request.app.template_engine
    template = engine.get_template("now_body.html") if engine else None

    def rendered(context: Mapping[str, Any]) -> str:
        return template.render(visitor=visitor, zone=zone, **context) if template else ""

    async def messages() -> AsyncIterator[ServerSentEventMessage]:
        async for text in until_changed(console, rendered):
            yield ServerSentEventMessage(data=text) if text else ServerSentEventMessage(comment="still here")

    return ServerSentEvent(messages())


# ------------------------------------------------------------------------------------------------------------ decisions


@get("/decisions", include_in_schema=False)
async def decisions_page(request: AnyRequest) -> Template:
    console, given = console_of(request), dict(request.query_params.items())
    wanted, problems = decision_filter(given, console.clock.now())
    cursor = given.get("cursor") or None
    try:
        found = await console.reader.decisions(wanted, cursor)
    except ValueError:
        raise ValidationException("cursor: follow the link for older decisions instead") from None
    chosen = {name: given[name] for name in FILTERS if given.get(name)}
    older = None if found.next is None else f"/decisions?{urlencode({**chosen, 'cursor': found.next})}"
    return page(
        request, "decisions.html", here="decisions", rows=found.rows, older=older,
        chosen={name: chosen.get(name, "") for name in FILTERS}, any=bool(chosen), problems=problems,
        newest=f"/decisions?{urlencode(chosen)}" if cursor else None, outcomes=OUTCOMES, gates=GATES,
        triggers=tuple(console.policy.triggers), ranges=RANGES,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- customer


@get("/customer", include_in_schema=False)
async def customer_page(request: AnyRequest) -> Template:
    """One customer; ``id`` may be any of theirs, and hold any character: it is a parameter, and no part of the path."""
    console, given = console_of(request), dict(request.query_params.items())
    id_ = given.get("id", "").strip()
    if not id_:
        return page(request, "customer_none.html", here="customer", id="", status=404)
    view, controls = await asyncio.gather(console.reader.customer(id_), console.reader.controls())
    if view is None:
        return page(request, "customer_none.html", here="customer", id=id_, status=404)
    zone = Clockwork.of(request)
    # In a thread: an explanation may take 50 ms, and other pages need not wait for it.
    context = await asyncio.to_thread(customer_context, console, view, controls.in_force, given, zone)
    return page(request, "customer.html", here="customer", asked_for=id_, **context)


# ---------------------------------------------------------------------------------------------------------------- works


@get("/works", include_in_schema=False)
async def works_page(request: AnyRequest) -> Template:
    console = console_of(request)
    works = await console.reader.works()
    by = request.query_params.get("by", "")
    names = sorted({label for metric in works.metrics for label in metric.labels})
    by = by if by in names else ""
    shown = [metric for metric in works.metrics if set(metric.labels) == ({by} if by else set())]
    compared_ = await console.comparer.compared(works.customers)
    return page(request, "works.html", here="works", works=works, metrics=shown, by=by, names=names, compared=compared_)


# --------------------------------------------------------------------------------------------------------------- policy


@get("/policy", include_in_schema=False)
async def policy_page(request: AnyRequest) -> Template:
    every = request.query_params.get("show") == "all"
    return await _policy_page(request, every=every, text="", differences=None, problem=None)


async def _policy_page(request: AnyRequest, *, every: bool, **said: Any) -> Template:
    console = console_of(request)
    await keep(console.store, console.policy, console.clock.now())
    known = [each for each in await versions(console.store) if each.hash != console.policy.hash]
    asked = request.query_params.get("before")
    before = next((each for each in known if each.hash == asked), None)
    if asked is not None and before is None:
        raise NotFoundException
    since = None if before is None else changes(settings_of(console.policy), before.settings)
    return page(request, "policy.html", here="policy", policy=console.policy, every=every, versions=known,
                sections=described(console.policy, everything=every), before=before, since=since, **said)  # fmt: skip


_COMPARISONS: Final = RateLimitConfig(
    rate_limit=("minute", _COMPARISONS_A_MINUTE), store="attempts", identifier_for_request=lambda r: r.user.name,
    set_rate_limit_headers=False,
)  # fmt: skip


_LONGEST_POLICY: Final = 65_536


@post("/policy", include_in_schema=False, status_code=200, middleware=[_COMPARISONS.middleware])
async def compare_policy(request: AnyRequest) -> Template:
    """The policy in force beside one that somebody is about to put in its place."""
    console = console_of(request)
    text = str((await request.form()).get("policy") or "")
    differences, problem = None, None
    if len(text) > _LONGEST_POLICY:
        problem = f"a policy of {len(text):,} characters: at most {_LONGEST_POLICY:,} are compared here"
    else:
        try:
            async with console.comparing:  # beside the loop: to say what is wrong with a policy may take seconds
                differences = await asyncio.to_thread(compared, console.policy, text)
        except PolicyProblem as found:
            problem = str(found)
    return await _policy_page(request, every=False, text=text, differences=differences, problem=problem)


# ------------------------------------------------------------------------------------------------------------- controls


@get("/controls", include_in_schema=False)
async def controls_page(request: AnyRequest) -> Template:
    return await _controls(request)


async def _controls(request: AnyRequest, problem: str | None = None, status: int = 200) -> Template:
    console, given = console_of(request), request.query_params
    reader = console.reader
    controls, noted = await asyncio.gather(reader.controls(), done_by(console))
    with_cursor = {name: given.get(name) or None for name in ("asks", "rewards")}
    try:
        approvals, rewards = (
            await reader.approvals(with_cursor["asks"]),
            await reader.held_rewards(with_cursor["rewards"]),
        )
    except ValueError:
        raise ValidationException("follow the link for more instead") from None
    return page(
        request, "controls.html", here="controls", controls=controls,
        audit=audit_of(controls, noted), in_force=said_of(controls, noted), approvals=approvals, rewards=rewards,
        triggers=tuple(console.policy.triggers), segments=SEGMENTS, problem=problem, status=status,
        done=given.get("done"), given=given,
    )  # fmt: skip


@post("/controls/preview", include_in_schema=False, status_code=200, guards=[operators_only])
async def preview(request: AnyRequest) -> Template:
    console = console_of(request)
    form = await request.form()
    action = _action(form, request.user)
    try:
        action.check(console.policy)
    except NotPossible as problem:
        return await _controls(request, problem=str(problem), status=400)
    word = await console.previews.keep(action)
    return page(
        request, "confirm.html", here="controls", action=action, word=word, **await _consequences(console, action)
    )


def _action(form: Any, visitor: Visitor) -> ControlAction:
    def text(name: str) -> str | None:
        return str(form.get(name) or "").strip() or None

    scope, name = text("scope"), text("name")
    if scope and ":" in scope:  # a choice of the list, such as trigger:renewal
        scope, _, name = scope.partition(":")
    letters = tuple(str(each) for each in form.getall("letter", [])) if "letter" in form else ()
    verb: Any = text("verb")
    if verb not in get_args(ControlVerb):
        raise ValidationException("verb: there is no such control")
    if scope not in (None, "all", "trigger", "segment"):
        raise ValidationException("scope: all, trigger or segment")
    return ControlAction(
        verb=verb, by=visitor.name, why=text("why") or "", scope=scope, name=name,  # type: ignore[arg-type]
        customer=text("customer"), about=text("about"), letters=letters,
    )  # fmt: skip


async def _consequences(console: Console, action: ControlAction) -> dict[str, Any]:
    """What a confirmation would do, in figures of now."""
    pending = await console.reader.pending(limit=1)
    about = None
    if action.verb in ("approve_ask", "reject_ask"):
        view = await console.reader.customer(action.customer or "")
        decisions = () if view is None else view.decisions
        about = next((each for each in decisions if each["opportunity_id"] == action.about), None)
    return {"pending": pending.total, "about": about}


@post("/controls/confirm", include_in_schema=False, status_code=303, guards=[operators_only])
async def confirm(request: AnyRequest) -> Response[Any]:
    """Writes the event that was shown. Confirming twice counts once: the event has the same id."""
    console = console_of(request)
    word = str((await request.form()).get("word") or "")
    try:
        action = await console.previews.of(word, request.user.name)
        await carry_out(console, action, word)
    except NotPossible as problem:
        return await _controls(request, problem=str(problem), status=409)
    await console.previews.done(word)
    return Redirect(f"/controls?{urlencode({'done': action.what})}", status_code=303)


@get("/dead-letters", include_in_schema=False)
async def dead_letters_page(request: AnyRequest) -> Template:
    """What could not be used; payloads may be personal, so only where they lie and why."""
    letters: Sequence[Any] = ()
    problem, total = None, 0
    try:
        found = (await console_of(request).letters.read()).open
        letters, total = found[:_LETTERS_SHOWN], len(found)
    except TopicsProblem as error:
        problem = str(error)
    return page(request, "dead_letters.html", here="controls", letters=letters, total=total, problem=problem)


PAGES: Final[tuple[HTTPRouteHandler, ...]] = (
    *LOGIN, choose_zone, live, ready, now_page, now_stream, decisions_page, customer_page,
    works_page, policy_page, compare_policy, controls_page, preview, confirm, dead_letters_page,
)  # fmt: skip
