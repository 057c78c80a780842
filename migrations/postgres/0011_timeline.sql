-- The timeline is read newest first: by when it happened, and within one instant by position.
CREATE INDEX events_of_onboarding ON events (onboarding_id, occurred_at, position) WHERE onboarding_id IS NOT NULL;
DROP INDEX events_timeline;
