-- The tables of usher. docs/architecture.md says what each is for.
-- Times are RFC 3339 text of fixed width (six fraction digits, Z), so that text order is time order; booleans are 0 and 1.

CREATE TABLE workspaces (
    id          text PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    settings    text NOT NULL,
    version     integer NOT NULL,
    created_at  text NOT NULL,
    updated_at  text NOT NULL
);

-- The next display_id per workspace and kind; taken in blocks, so gaps are normal.
CREATE TABLE counters (
    workspace_id text NOT NULL,
    kind         text NOT NULL,
    next         integer NOT NULL,
    PRIMARY KEY (workspace_id, kind)
);

CREATE TABLE api_keys (
    id             text PRIMARY KEY,
    workspace_id   text NOT NULL,
    livemode       integer NOT NULL,
    name           text NOT NULL,
    prefix         text NOT NULL,
    hash           text NOT NULL UNIQUE,
    scopes         text NOT NULL,
    rate_limit     integer,
    created_at     text NOT NULL,
    revoked_at     text,
    last_used_at   text,
    last_used_from text,
    use_count      integer NOT NULL
);
CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, created_at);

CREATE TABLE users (
    id            text PRIMARY KEY,
    workspace_id  text NOT NULL,
    livemode      integer NOT NULL,
    display_id    integer NOT NULL,
    name          text NOT NULL,
    email         text NOT NULL,
    slack_user_id text,
    reach         text NOT NULL,
    active        integer NOT NULL,
    external_id   text,
    created_at    text NOT NULL,
    updated_at    text NOT NULL,
    version       integer NOT NULL,
    deleted_at    text
);
CREATE UNIQUE INDEX users_display_id ON users (workspace_id, display_id);
CREATE UNIQUE INDEX users_email ON users (workspace_id, livemode, email) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_external_id ON users (workspace_id, livemode, external_id) WHERE deleted_at IS NULL AND external_id IS NOT NULL;
CREATE INDEX users_newest ON users (workspace_id, livemode, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE customers (
    id                  text PRIMARY KEY,
    workspace_id        text NOT NULL,
    livemode            integer NOT NULL,
    display_id          integer NOT NULL,
    name                text NOT NULL,
    slug                text,
    domain              text,
    status              text NOT NULL,
    plan                text,
    mrr                 real,
    monthly_orders      integer,
    hubspot_company_id  text,
    hubspot_deal_id     text,
    stripe_customer_id  text,
    intercom_company_id text,
    slack_channel_id    text,
    external_id         text,
    metadata            text NOT NULL,
    created_at          text NOT NULL,
    updated_at          text NOT NULL,
    version             integer NOT NULL,
    deleted_at          text
);
CREATE UNIQUE INDEX customers_display_id ON customers (workspace_id, display_id);
CREATE UNIQUE INDEX customers_slug ON customers (workspace_id, livemode, slug) WHERE deleted_at IS NULL AND slug IS NOT NULL;
CREATE UNIQUE INDEX customers_external_id ON customers (workspace_id, livemode, external_id) WHERE deleted_at IS NULL AND external_id IS NOT NULL;
CREATE INDEX customers_newest ON customers (workspace_id, livemode, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE contacts (
    id           text PRIMARY KEY,
    workspace_id text NOT NULL,
    livemode     integer NOT NULL,
    display_id   integer NOT NULL,
    customer_id  text NOT NULL,
    name         text NOT NULL,
    email        text NOT NULL,
    title        text,
    is_primary   integer NOT NULL,
    labels       text NOT NULL,
    created_at   text NOT NULL,
    updated_at   text NOT NULL,
    version      integer NOT NULL,
    deleted_at   text
);
CREATE UNIQUE INDEX contacts_display_id ON contacts (workspace_id, display_id);
CREATE UNIQUE INDEX contacts_email ON contacts (customer_id, email) WHERE deleted_at IS NULL;

CREATE TABLE templates (
    id           text PRIMARY KEY,
    workspace_id text NOT NULL,
    livemode     integer NOT NULL,
    display_id   integer NOT NULL,
    name         text NOT NULL,
    defaults     text NOT NULL,
    created_at   text NOT NULL,
    updated_at   text NOT NULL,
    version      integer NOT NULL,
    deleted_at   text
);
CREATE UNIQUE INDEX templates_display_id ON templates (workspace_id, display_id);

CREATE TABLE onboardings (
    id                      text PRIMARY KEY,
    workspace_id            text NOT NULL,
    livemode                integer NOT NULL,
    display_id              integer NOT NULL,
    customer_id             text NOT NULL,
    template_id             text,
    phase                   text NOT NULL,
    state                   text NOT NULL,
    started_at              text NOT NULL,
    completed_at            text,
    target_launch_date      text,
    csm_id                  text,
    se_id                   text,
    designer_id             text,
    product_ops_id          text,
    notes                   text,
    waiting_since           text,
    wizard_completed_at     text,
    reminder_email          integer NOT NULL,
    reminder_slack          integer NOT NULL,
    reminder_frequency_days integer NOT NULL,
    snoozed_until           text,
    external_id             text,
    created_at              text NOT NULL,
    updated_at              text NOT NULL,
    version                 integer NOT NULL,
    cadence_base            text NOT NULL,
    phase_entered_at        text NOT NULL,
    idle_since              text,
    idle_seconds            integer NOT NULL,
    target_shifts           integer NOT NULL,
    deleted_at              text
);
CREATE UNIQUE INDEX onboardings_display_id ON onboardings (workspace_id, display_id);
CREATE UNIQUE INDEX onboardings_external_id ON onboardings (workspace_id, livemode, external_id) WHERE deleted_at IS NULL AND external_id IS NOT NULL;
CREATE INDEX onboardings_newest ON onboardings (workspace_id, livemode, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX onboardings_by_customer ON onboardings (customer_id, created_at, id) WHERE deleted_at IS NULL;

-- The audit log, the timeline and the outbox in one. A subject's next event takes its position only after the
-- previous one is committed (the subject's row is locked), so positions order each subject's events.
CREATE TABLE events (
    position        INTEGER PRIMARY KEY AUTOINCREMENT,
    id              text NOT NULL UNIQUE,
    workspace_id    text NOT NULL,
    livemode        integer NOT NULL,
    kind            text NOT NULL,
    subject_id      text NOT NULL,
    subject_version integer NOT NULL,
    ordinal         integer NOT NULL,
    onboarding_id   text,
    occurred_at     text NOT NULL,
    data            text NOT NULL,
    traceparent     text,
    shard           integer NOT NULL,
    published_at    text,
    UNIQUE (subject_id, subject_version, ordinal)
);
CREATE INDEX events_unpublished ON events (position) WHERE published_at IS NULL;
CREATE INDEX events_timeline ON events (onboarding_id, position) WHERE onboarding_id IS NOT NULL;

-- Who publishes which shard of the outbox.
CREATE TABLE relay_shards (
    shard       integer PRIMARY KEY,
    lease_until text,
    lease_token text
);
INSERT INTO relay_shards (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

-- One row per onboarding: the next reminder (due_at null = none will come as things stand), and the last one.
CREATE TABLE schedules (
    onboarding_id    text PRIMARY KEY,
    workspace_id     text NOT NULL,
    slot             text,
    due_at           text,
    last_slot        text,
    last_reminded_at text,
    silent_since     text,
    silent_reason    text
);
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;

-- "Remind now": asked for, not yet planned.
CREATE TABLE reminder_requests (
    id            text PRIMARY KEY,
    workspace_id  text NOT NULL,
    livemode      integer NOT NULL,
    onboarding_id text NOT NULL,
    channels      text,
    requested_at  text NOT NULL,
    planned_at    text
);
CREATE INDEX reminder_requests_open ON reminder_requests (requested_at) WHERE planned_at IS NULL;

-- The reminder ledger.
CREATE TABLE deliveries (
    id            text PRIMARY KEY,
    workspace_id  text NOT NULL,
    livemode      integer NOT NULL,
    onboarding_id text NOT NULL,
    kind          text NOT NULL,
    slot          text NOT NULL,
    channel       text NOT NULL,
    recipient     text NOT NULL,
    why           text NOT NULL,
    status        text NOT NULL,
    reason        text,
    detail        text,
    due_at        text NOT NULL,
    send_after    text NOT NULL,
    sent_at       text,
    attempts      integer NOT NULL,
    ambiguities   integer NOT NULL,
    errors        text NOT NULL,
    message_id    text,
    lease_until   text,
    lease_token   text,
    planned_at    text NOT NULL,
    updated_at    text NOT NULL,
    UNIQUE (onboarding_id, kind, slot, channel, recipient)
);
CREATE INDEX deliveries_pending ON deliveries (channel, send_after) WHERE status = 'pending';
CREATE INDEX deliveries_waiting ON deliveries (send_after) WHERE status = 'pending' AND lease_until IS NULL;
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE status = 'pending' AND lease_until IS NOT NULL;
CREATE INDEX deliveries_pending_of ON deliveries (recipient, channel, workspace_id) WHERE status = 'pending';
CREATE INDEX deliveries_of_onboarding ON deliveries (onboarding_id, planned_at, id);

-- Handled command ids: exactly one effect per source and id.
CREATE TABLE inbox (
    workspace_id text NOT NULL,
    source       text NOT NULL,
    message_id   text NOT NULL,
    body_hash    text NOT NULL,
    subject_id   text,
    outcome      text NOT NULL,
    received_at  text NOT NULL,
    PRIMARY KEY (workspace_id, source, message_id)
);
CREATE INDEX inbox_age ON inbox (received_at);

-- Refused commands, with their bytes and the reason.
CREATE TABLE rejected (
    id           text PRIMARY KEY,
    workspace    text NOT NULL,
    command      text NOT NULL,
    subject      text NOT NULL,
    source       text NOT NULL,
    message_id   text NOT NULL,
    body_hash    text NOT NULL,
    headers      text NOT NULL,
    payload      blob NOT NULL,
    code         text NOT NULL,
    message      text NOT NULL,
    field        text,
    attempts     integer NOT NULL,
    rejected_at  text NOT NULL,
    published_at text,
    replayed_at  text,
    UNIQUE (workspace, source, message_id, body_hash)
);
CREATE INDEX rejected_unpublished ON rejected (rejected_at) WHERE published_at IS NULL;
CREATE INDEX rejected_newest ON rejected (rejected_at, id);

-- Answers to requests that carried an Idempotency-Key.
CREATE TABLE idempotency_keys (
    workspace_id text NOT NULL,
    livemode     integer NOT NULL,
    endpoint     text NOT NULL,
    key          text NOT NULL,
    body_hash    text NOT NULL,
    status       integer NOT NULL,
    body         text NOT NULL,
    created_at   text NOT NULL,
    PRIMARY KEY (workspace_id, livemode, endpoint, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
