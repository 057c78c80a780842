-- Contacts and templates are written from here on, and every filter of a list has an index in the list's order.

ALTER TABLE contacts ADD COLUMN external_id text;
CREATE UNIQUE INDEX contacts_external_id ON contacts (workspace_id, livemode, external_id) WHERE deleted_at IS NULL AND external_id IS NOT NULL;
CREATE UNIQUE INDEX contacts_primary ON contacts (customer_id) WHERE deleted_at IS NULL AND is_primary;
CREATE INDEX contacts_newest ON contacts (customer_id, created_at, id) WHERE deleted_at IS NULL;

CREATE INDEX templates_newest ON templates (workspace_id, livemode, created_at, id) WHERE deleted_at IS NULL;

CREATE INDEX customers_by_status ON customers (workspace_id, livemode, status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX customers_by_domain ON customers (workspace_id, livemode, domain, created_at, id) WHERE deleted_at IS NULL AND domain IS NOT NULL;

CREATE INDEX onboardings_by_csm ON onboardings (csm_id, created_at, id) WHERE deleted_at IS NULL AND csm_id IS NOT NULL;
CREATE INDEX onboardings_by_template ON onboardings (template_id, created_at, id) WHERE deleted_at IS NULL AND template_id IS NOT NULL;
-- Most are active: those are found in the order of the list itself.
CREATE INDEX onboardings_by_state ON onboardings (workspace_id, livemode, state, created_at, id) WHERE deleted_at IS NULL AND state <> 'active';
CREATE INDEX onboardings_by_phase ON onboardings (workspace_id, livemode, phase, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX onboardings_changed ON onboardings (workspace_id, livemode, updated_at) WHERE deleted_at IS NULL;
CREATE INDEX schedules_due_in_workspace ON schedules (workspace_id, due_at) WHERE due_at IS NOT NULL;
