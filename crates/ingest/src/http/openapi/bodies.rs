//! The bodies of requests, as the readers in `body/` take them. A test holds the names here against those there; the
//! generated requests of `scripts/api-check` hold the rest.

use serde_json::{Value, json};
use usher_lifecycle::{Phase, Scope, State, customer::CustomerStatus, limits};

use super::build::{
    body, boolean, email, filled, form, instant, nullable, of, one_of, reference, text, told, with, within,
};

/// All of them by name.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("OnboardingCreatePhase", one_of(Phase::ALL.map(Phase::as_str))),
        ("OnboardingCreateState", one_of(State::ALL.map(State::as_str))),
        ("OnboardingCreate", onboarding()),
        ("OnboardingUpdate", onboarding_update()),
        ("Snooze", snooze()),
        ("RemindNow", remind()),
        ("CustomerCreate", customer(true)),
        ("CustomerUpdate", customer(false)),
        ("UserCreate", user(true)),
        ("UserUpdate", user(false)),
        ("ContactCreate", contact(true)),
        ("ContactUpdate", contact(false)),
        ("TemplateCreate", template(true)),
        ("TemplateUpdate", template(false)),
        ("WorkspaceUpdate", workspace()),
        ("ApiKeyCreate", key()),
        ("ApiKeyRotate", rotate()),
    ]
}

const USER: &str = "A user: id, display_id or e-mail address. Answers have the id.";
/// No white space and no control character.
const CHANNEL: &str =
    "^[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+$";
const TEMPLATE: &str = "A template: id or display_id.";
const OWN: &str = "Your own key, unique per workspace, mode and kind.";

fn days() -> Value {
    within(1, limits::FREQUENCY_DAYS)
}

fn own() -> Value {
    nullable(told(filled(limits::EXTERNAL_ID), OWN))
}

fn started() -> Value {
    told(instant(), "Not in the future.")
}

fn onboarding() -> Value {
    let role = || nullable(reference(USER));
    body(
        &["customer_id"],
        [
            ("customer_id", reference("The customer: id or display_id.")),
            ("template_id", reference(TEMPLATE)),
            ("phase", of("OnboardingCreatePhase")),
            ("state", of("OnboardingCreateState")),
            ("target_launch_date", instant()),
            ("csm_id", role()),
            ("se_id", role()),
            ("designer_id", role()),
            ("product_ops_id", role()),
            ("notes", text(limits::NOTES)),
            ("reminder_email", boolean()),
            ("reminder_slack", boolean()),
            ("reminder_frequency_days", days()),
            ("started_at", started()),
            ("external_id", own()),
        ],
    )
}

fn onboarding_update() -> Value {
    let role = || nullable(reference(USER));
    body(
        &[],
        [
            ("template_id", nullable(reference(TEMPLATE))),
            ("phase", of("OnboardingCreatePhase")),
            ("state", of("OnboardingCreateState")),
            ("target_launch_date", nullable(instant())),
            ("csm_id", role()),
            ("se_id", role()),
            ("designer_id", role()),
            ("product_ops_id", role()),
            ("notes", nullable(text(limits::NOTES))),
            ("reminder_email", boolean()),
            ("reminder_slack", boolean()),
            ("reminder_frequency_days", days()),
            ("started_at", started()),
            ("external_id", own()),
            ("waiting_on_customer", told(boolean(), "true is the state `waiting`, false ends it.")),
            ("wizard_completed_at", nullable(instant())),
            ("reason", told(text(limits::REASON), "Why; goes into the events.")),
        ],
    )
}

fn snooze() -> Value {
    let until = told(instant(), "In the future.");
    let schema = body(&[], [("until", until), ("days", days())]);
    with(schema, json!({"minProperties": 1, "maxProperties": 1}))
}

fn remind() -> Value {
    let channels = json!({"type": "array", "items": one_of(["email", "slack"]), "minItems": 1, "maxItems": 10,
        "description": "By which channels; the onboarding's own without it."});
    body(&[], [("channels", channels)])
}

fn customer(new: bool) -> Value {
    let short = || nullable(text(255));
    let metadata = json!({"type": "object", "propertyNames": text(255),
        "description": "At most 32 KiB and 8 levels as a whole. A PATCH is merged into it at every level, and null removes a key."});
    body(
        if new { &["name"] } else { &[] },
        [
            ("name", filled(limits::NAME)),
            ("slug", nullable(form("^[a-z0-9-]{1,63}$", 63))),
            ("domain", nullable(domain())),
            ("status", one_of(CustomerStatus::ALL.map(CustomerStatus::as_str))),
            ("plan", short()),
            ("mrr", json!({"type": ["number", "null"], "minimum": 0})),
            ("monthly_orders", nullable(within(0, crate::body::COUNT))),
            ("hubspot_company_id", short()),
            ("hubspot_deal_id", short()),
            ("stripe_customer_id", short()),
            ("intercom_company_id", short()),
            ("slack_channel_id", short()),
            ("external_id", own()),
            ("metadata", metadata),
        ],
    )
}

fn domain() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 253,
        "description": "Letters and digits of any script, `-` and `.`; kept in lower case."})
}

fn user(new: bool) -> Value {
    let time = || form("^([01][0-9]|2[0-3]):[0-5][0-9]$", 5);
    let quiet = body(if new { &["from", "to"] } else { &[] }, [("from", time()), ("to", time())]);
    let quiet = if new { quiet } else { told(quiet, "The end that is not given stays.") };
    let day = json!({"anyOf": [one_of(WEEKDAYS), {"type": "string", "format": "date"}],
        "description": "A weekday (mon) or a date (2026-12-24)."});
    body(
        if new { &["name", "email"] } else { &[] },
        [
            ("name", filled(limits::NAME)),
            ("email", email()),
            ("slack_user_id", nullable(form("^[A-Za-z0-9]{1,64}$", 64))),
            ("time_zone", nullable(zone())),
            ("quiet_hours", nullable(quiet)),
            ("days_off", json!({"type": "array", "items": day, "maxItems": 400})),
            ("mute_until", nullable(instant())),
            ("email_enabled", boolean()),
            ("slack_enabled", boolean()),
            ("external_id", own()),
            ("active", told(boolean(), "false keeps the person on record and sends them nothing.")),
        ],
    )
}

fn contact(new: bool) -> Value {
    let labels = json!({"type": "array", "items": filled(64), "maxItems": 20});
    body(
        if new { &["name", "email"] } else { &[] },
        [
            ("name", filled(limits::NAME)),
            ("email", email()),
            ("title", nullable(text(255))),
            ("is_primary", told(boolean(), "true takes the place over; the first contact has it anyway.")),
            ("labels", labels),
            ("external_id", own()),
        ],
    )
}

/// An object with phases as keys.
fn by_phase(value: &Value) -> Value {
    let phases = Phase::ALL.map(|phase| (phase.as_str(), value.clone()));
    body(&[], phases)
}

fn template(new: bool) -> Value {
    let role = || nullable(reference(USER));
    let target = || nullable(within(1, 3_650));
    body(
        if new { &["name"] } else { &[] },
        [
            ("name", filled(limits::NAME)),
            ("reminder_email", nullable(boolean())),
            ("reminder_slack", nullable(boolean())),
            ("reminder_frequency_days", nullable(days())),
            ("csm_id", role()),
            ("se_id", role()),
            ("designer_id", role()),
            ("product_ops_id", role()),
            ("target_days", target()),
            ("phase_target_days", by_phase(&target())),
        ],
    )
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ROLES: [&str; 4] = ["csm", "se", "designer", "product_ops"];

fn workspace() -> Value {
    let time = || form("^([01][0-9]|2[0-3]):[0-5][0-9]$", 5);
    let date = json!({"type": "string", "format": "date"});
    let policy = body(
        &[],
        [
            ("time_zone", zone()),
            ("time_of_day", time()),
            ("send_until", told(time(), "Later than `time_of_day`.")),
            (
                "working_days",
                json!({"type": "array", "items": one_of(WEEKDAYS), "minItems": 1, "maxItems": 7}),
            ),
            ("holidays", json!({"type": "array", "items": date, "maxItems": 1_000})),
            ("catch_up", one_of(["once", "skip"])),
            ("spread_minutes", within(0, 720)),
        ],
    );
    let step = body(
        &["after_reminders", "to"],
        [
            ("after_reminders", within(1, 1_000)),
            ("to", one_of(ROLES.into_iter().chain(["fallback"]))),
            ("set_state", nullable(one_of(State::ALL.map(State::as_str)))),
        ],
    );
    body(
        &[],
        [
            ("name", filled(limits::NAME)),
            ("policy", policy),
            ("phase_owners", by_phase(&nullable(one_of(ROLES)))),
            ("escalation", json!({"type": "array", "items": step, "maxItems": 10})),
            ("require_reason", one_of(["none", "send_back", "any"])),
            ("nudge_customer", boolean()),
            ("ops_email", nullable(email())),
            (
                "ops_slack_channel",
                nullable(told(form(CHANNEL, 80), "A channel's id or #name, without white space.")),
            ),
            ("ambiguous", one_of(["resend", "hold"])),
        ],
    )
}

fn zone() -> Value {
    told(json!({"type": "string"}), "A zone of the tz database, like Europe/Berlin.")
}

fn key() -> Value {
    let scope = one_of(Scope::all().map(|scope| scope.to_string()));
    body(
        &["name"],
        [
            ("name", filled(limits::NAME)),
            (
                "livemode",
                told(
                    boolean(),
                    "The mode of the key that asks, unless said. A test key makes test keys only.",
                ),
            ),
            (
                "scopes",
                json!({"type": "array", "items": scope, "minItems": 1, "maxItems": 20,
                    "description": "What it may do; everything without it. None that the asking key has not."}),
            ),
            (
                "rate_limit",
                nullable(told(
                    within(0, crate::http::MOST_REQUESTS),
                    "Requests in any 60 seconds; null is the default, 0 no limit.",
                )),
            ),
        ],
    )
}

fn rotate() -> Value {
    let about = "In how many seconds the old key ends; without it, when it is revoked.";
    body(&[], [("overlap_seconds", nullable(told(within(0, crate::body::OVERLAP), about)))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    #[test]
    fn the_names_are_those_that_the_readers_take() {
        for (name, known) in body::KNOWN_FIELDS {
            let schema = all().into_iter().find(|(it, _)| it == name).expect("a schema").1;
            let mut here: Vec<&String> =
                schema["properties"].as_object().expect("properties").keys().collect();
            let mut there: Vec<&str> = known.to_vec();
            here.sort_unstable();
            there.sort_unstable();
            assert_eq!(here, there, "{name}");
        }
    }
}
