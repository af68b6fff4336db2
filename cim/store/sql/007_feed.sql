-- Sources that are loaded on a schedule: when each ran last, what came of it, and by what its content is known again.
CREATE TABLE IF NOT EXISTS cim.feed (
    name   text PRIMARY KEY,
    ran    timestamptz NOT NULL,
    load   bigint REFERENCES cim.load (load), -- the last that brought something
    said   text NOT NULL,
    failed boolean NOT NULL DEFAULT false,
    mark   text
);
