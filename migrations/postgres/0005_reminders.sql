-- Escalation: since when nobody showed a sign of life, how many reminders went unheeded since, how far it went.
ALTER TABLE schedules ADD COLUMN heeded_at timestamptz;
ALTER TABLE schedules ADD COLUMN unheeded bigint NOT NULL DEFAULT 0;
ALTER TABLE schedules ADD COLUMN counted_slot date;
ALTER TABLE schedules ADD COLUMN escalated bigint NOT NULL DEFAULT 0;

-- A changed policy reaches the pending slots in batches: the version that all of them follow, the one that a walk is
-- under way for, how far it has come (a display_id), and when it begins a second time.
ALTER TABLE workspaces ADD COLUMN redated_version bigint NOT NULL DEFAULT 1;
ALTER TABLE workspaces ADD COLUMN redating_version bigint NOT NULL DEFAULT 1;
ALTER TABLE workspaces ADD COLUMN redating_from bigint NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN redating_again timestamptz;
CREATE INDEX workspaces_redating ON workspaces (updated_at) WHERE redated_version < version;

-- When each housekeeping task last ran, so that replicas do not all do it.
CREATE TABLE housekeeping (
    task   text PRIMARY KEY,
    ran_at timestamptz NOT NULL
);
