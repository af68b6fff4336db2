-- Where a version comes from, to the record: the file (and its table) that a load read, and who ran the load.
CREATE TABLE IF NOT EXISTS cim.source (
    source bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    load   bigint NOT NULL REFERENCES cim.load (load),
    path   text NOT NULL,
    name   text,           -- of the table, where the file has several
    sha256 text NOT NULL,
    bytes  bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS source_load ON cim.source (load);
ALTER TABLE cim.load ADD COLUMN IF NOT EXISTS operator text; -- an account, or the system's user at the command line
ALTER TABLE cim.asset ADD COLUMN IF NOT EXISTS source bigint REFERENCES cim.source (source);
ALTER TABLE cim.load ADD COLUMN IF NOT EXISTS quality jsonb; -- what the checks found: cim.quality says in which shape
