//! THE table of routes.

use axum::{
    Router,
    routing::{get, post},
};

use super::{
    Api, contacts, customers, events, health, me, onboardings, reminders, snooze, templates, users, workspace,
};

pub(super) fn table() -> Router<Api> {
    Router::new()
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/me", get(me::show))
        .route("/api/v1/customers", get(customers::list).post(customers::create))
        .route(
            "/api/v1/customers/{id}",
            get(customers::show).patch(customers::change).delete(customers::delete),
        )
        .route("/api/v1/customers/{id}/contacts", get(contacts::list).post(contacts::create))
        .route("/api/v1/contacts/{id}", get(contacts::show).patch(contacts::change).delete(contacts::delete))
        .route("/api/v1/customers/{id}/onboardings", get(onboardings::list_of_customer))
        .route("/api/v1/onboardings", get(onboardings::list).post(onboardings::create))
        .route(
            "/api/v1/onboardings/{id}",
            get(onboardings::show).patch(onboardings::change).delete(onboardings::delete),
        )
        .route("/api/v1/onboardings/{id}/events", get(events::timeline))
        .route("/api/v1/onboardings/{id}/reminders", get(reminders::ledger).post(reminders::remind))
        .route("/api/v1/onboardings/{id}/snooze", post(snooze::begin).delete(snooze::end))
        .route("/api/v1/users", get(users::list).post(users::create))
        .route("/api/v1/users/{id}", get(users::show).patch(users::change).delete(users::delete))
        .route("/api/v1/templates", get(templates::list).post(templates::create))
        .route(
            "/api/v1/templates/{id}",
            get(templates::show).patch(templates::change).delete(templates::delete),
        )
        .route("/api/v1/workspace", get(workspace::show).patch(workspace::change))
}
