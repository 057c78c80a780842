-- Commands that came again and again: how often one of them was begun by itself and never ended, because its process died.
CREATE TABLE suspects (
    stream   text NOT NULL,
    sequence integer NOT NULL,
    begun    integer NOT NULL,
    begun_at text NOT NULL,
    PRIMARY KEY (stream, sequence)
);
