-- What waits of an onboarding is looked for whenever a slot of it is planned; by the unique key that would read all that it
-- ever got.
CREATE INDEX deliveries_waiting_of ON deliveries (onboarding_id, kind) WHERE status = 'pending';
