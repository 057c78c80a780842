"""What JSON Schema cannot say about valid requests, for scripts/api-check: which records exist, which names there are.

Only requests that are meant to be valid are touched, and only fields they have: an id of a record that was seeded, a zone
that exists, a domain, a date in the past, a version that is not stale. A schema cannot tell an existing id from an unknown one. Beside that, deletions
spare what later valid requests name.
"""
import json
import os

import schemathesis

SEED = json.load(open(os.environ["API_CHECK_SEED"]))


def pick(kind, case):
    """One of the seeded records; which one is up to the generated request, so that a seed gives the same run.

    Deletions have the second half to themselves: what the other requests name stays there.
    """
    half = len(SEED[kind]) // 2
    known = SEED[kind][half:] if case.method == "DELETE" else SEED[kind][:half]
    return known[len(repr(case.body)) % len(known)]


def mend_body(case, body):
    for field in ("csm_id", "se_id", "designer_id", "product_ops_id"):
        if body.get(field) is not None:
            body[field] = pick("users", case)
    if "customer_id" in body:
        body["customer_id"] = pick("customers", case)
    if body.get("template_id") is not None:
        body["template_id"] = pick("templates", case)
    if "started_at" in body:
        body["started_at"] = "2024-04-01T08:00:00Z"
    if "until" in body:
        body["until"] = "2126-01-01T00:00:00Z"
    if body.get("time_zone") is not None:
        body["time_zone"] = "Europe/Berlin"
    if "waiting_on_customer" in body:
        # The same fact twice; a schema cannot say that the two must agree.
        body.pop("state", None)
    if "require_reason" in body:
        # Else later valid requests without a reason would be refused, rightly.
        body["require_reason"] = "none"
    if isinstance(body.get("policy"), dict):
        body["policy"].pop("time_of_day", None)
        body["policy"].pop("send_until", None)
        if "time_zone" in body["policy"]:
            body["policy"]["time_zone"] = "Europe/Berlin"
    if body.get("domain") is not None:
        body["domain"] = "example.com"
    if case.path.endswith("/onboardings") and body.get("phase") == "completed":
        body.pop("state", None)


def mend_headers(case, stateful):
    headers = case.headers or {}
    # A generated version is nearly always stale; most requests are to get past it.
    if "If-Match" in headers and len(headers["If-Match"]) % 4:
        headers["If-Match"] = "*"
    # A sequence that is played again would get the kept answers of the first time, about records that are deleted since.
    if stateful:
        headers.pop("Idempotency-Key", None)


def spare(case):
    """Turns the deletion of a record that other requests name into that of one which nothing names.

    In the stateful phase, and by chance, a path may name any of them, also by its number.
    """
    if case.method != "DELETE" or not case.path_parameters or "id" not in case.path_parameters:
        return
    kind, named = case.path.split("/")[3], str(case.path_parameters["id"])
    if kind in SEED and (named in SEED[kind] or named.isdigit()):
        case.path_parameters["id"] = pick(kind, case)


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
