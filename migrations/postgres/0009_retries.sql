-- A delivery that failed, or of which nobody knows whether it arrived, may be put back by hand: how often that was done,
-- when last, and how many ambiguous attempts it had by then, which count no more.
ALTER TABLE deliveries ADD COLUMN retries bigint NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN retried_at timestamptz;
ALTER TABLE deliveries ADD COLUMN forgiven bigint NOT NULL DEFAULT 0;
CREATE INDEX deliveries_undelivered ON deliveries (workspace_id, planned_at, id) WHERE status IN ('failed', 'ambiguous');
-- What travelled in one message of unknown fate is put back together.
CREATE INDEX deliveries_ambiguous ON deliveries (message_id) WHERE status = 'ambiguous';
