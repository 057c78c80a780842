-- Live and test events go to streams of their own, and one that refuses must not hold the other up: the relay reads each
-- on its own.
CREATE INDEX events_waiting ON events (livemode, position) WHERE published_at IS NULL;
DROP INDEX events_unpublished;
