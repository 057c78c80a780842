-- The newest CloudEvents sequence applied per source and record: an older one changes nothing.
CREATE TABLE source_sequences (
    workspace_id text NOT NULL,
    source       text NOT NULL,
    subject_id   text NOT NULL,
    sequence     text NOT NULL,
    updated_at   text NOT NULL,
    PRIMARY KEY (workspace_id, source, subject_id)
);
CREATE INDEX source_sequences_age ON source_sequences (updated_at);

-- What became of a refused command's last replay: committed, unchanged, duplicate, superseded or refused; and why.
ALTER TABLE rejected ADD COLUMN replay_outcome text;
ALTER TABLE rejected ADD COLUMN replay_message text;
