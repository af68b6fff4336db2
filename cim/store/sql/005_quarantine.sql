-- Records that were set aside on loading, each with its reason and what the source said; the server's role can't read
-- them, for they may be anything.
CREATE TABLE IF NOT EXISTS cim.quarantine (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    load       bigint NOT NULL REFERENCES cim.load (load),
    file       text NOT NULL,
    layer      text,       -- NULL: it wasn't known yet
    record     text NOT NULL,
    reason     text NOT NULL,
    attributes jsonb,      -- by the source's names
    geometry   geometry,   -- in the city's CRS; NULL: there is none, or it has no place
    resolved   timestamptz -- when a later load brought the object
);
CREATE INDEX IF NOT EXISTS quarantine_open ON cim.quarantine (layer, record) WHERE resolved IS NULL;
