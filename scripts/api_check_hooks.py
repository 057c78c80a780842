"""What JSON Schema cannot say about requests, for scripts/api-check, which lists and explains all of it.

Requests that are meant to be valid are mended, and only in fields they have: what names a record names one that was seeded,
what must be in the past, in order or in agreement is put there. Everything else of them stays as it was generated.
"""
import json
import os
import re

import schemathesis

SEED = json.load(open(os.environ["API_CHECK_SEED"]))
ZONES = ("Europe/Berlin", "UTC", "America/New_York", "Asia/Kolkata", "Pacific/Chatham")
TAG = re.compile(r'\*|(W/)?"[0-9]{1,18}"')


def deletes(case):
    """Whether it deletes the record that its path names; the end of a snooze does not."""
    return case.method == "DELETE" and case.path.endswith("{id}")


def pick(kind, case):
    """One of the seeded records; which one is up to the generated request, so that a seed gives the same run.

    Deletions have the second half to themselves: what the other requests name stays there.
    """
    half = len(SEED[kind]) // 2
    known = SEED[kind][half:] if deletes(case) else SEED[kind][:half]
    return known[len(repr(case.body)) % len(known)]


def past(instant):
    """The same day and time of a year that is over; one with a 29 February."""
    return instant if instant < "2026" else "2004" + instant[4:]


def future(instant):
    """The same day and time of a year that is not there yet."""
    return instant if instant > "2100" else "2104" + instant[4:]


def half_day(time, afternoon):
    """The same minute in that half of the day: what is sent before noon is always sent before it must stop."""
    return f"{int(time[:2]) % 12 + 12 * afternoon:02}{time[2:]}"


def mend_body(case, body):
    for field in ("csm_id", "se_id", "designer_id", "product_ops_id"):
        if body.get(field) is not None:
            body[field] = pick("users", case)
    if "customer_id" in body:
        body["customer_id"] = pick("customers", case)
    if body.get("template_id") is not None:
        body["template_id"] = pick("templates", case)
    if "started_at" in body:
        body["started_at"] = past(body["started_at"])
    if "until" in body:
        body["until"] = future(body["until"])
    for zoned in (body, body.get("policy")):
        if isinstance(zoned, dict) and zoned.get("time_zone") is not None:
            zoned["time_zone"] = ZONES[len(zoned["time_zone"]) % len(ZONES)]
    if "waiting_on_customer" in body and "state" in body:
        # One fact in two fields: the state says which.
        body["waiting_on_customer"] = body["state"] == "waiting"
    if "require_reason" in body:
        body["require_reason"] = "none"
    if isinstance(body.get("policy"), dict):
        for field, afternoon in (("time_of_day", False), ("send_until", True)):
            if field in body["policy"]:
                body["policy"][field] = half_day(body["policy"][field], afternoon)
    if isinstance(body.get("quiet_hours"), dict):
        body["quiet_hours"] = {"from": "19:00", "to": "08:00"} | body["quiet_hours"]
    if body.get("domain") is not None:
        body["domain"] = "".join(c for c in body["domain"] if c.isalnum() or c in "-.") or "example.com"


def mend_headers(case, stateful):
    headers = case.headers or {}
    if "If-Match" in headers and len(headers["If-Match"]) % 4:
        headers["If-Match"] = "*"
    if stateful:
        headers.pop("Idempotency-Key", None)


def spare(case):
    """Turns the deletion of a record that other requests name into that of one which nothing names.

    In the stateful phase, and by chance, a path may name any of them, also by its number.
    """
    if not deletes(case) or not case.path_parameters or "id" not in case.path_parameters:
        return
    kind, named = case.path.split("/")[3], str(case.path_parameters["id"])
    if kind in SEED and (named in SEED[kind] or named.isdigit()):
        case.path_parameters["id"] = pick(kind, case)


@schemathesis.hook
def filter_case(context, case):
    """No If-Match but those of the published form: any other is answered by 412, as a stale one is."""
    tag = (case.headers or {}).get("If-Match")
    return tag is None or TAG.fullmatch(str(tag)) is not None


@schemathesis.hook
def before_call(context, case, kwargs):
    spare(case)
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        mend_body(case, case.body)
    stateful = meta.phase.name.value == "stateful"
    mend_headers(case, stateful)
    # Most paths name a record that exists, the others one that does not. Those of the stateful phase are links to
    # records that it has just made.
    if not stateful and case.path_parameters and "id" in case.path_parameters:
        kind = case.path.split("/")[3]
        if kind in SEED and len(str(case.path_parameters["id"])) % 4:
            case.path_parameters["id"] = pick(kind, case)
