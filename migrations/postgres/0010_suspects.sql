-- Commands that came again and again: how often one of them was begun by itself and never ended, because its process died.
CREATE TABLE suspects (
    stream   text NOT NULL,
    sequence bigint NOT NULL,
    begun    bigint NOT NULL,
    begun_at timestamptz NOT NULL,
    PRIMARY KEY (stream, sequence)
);
