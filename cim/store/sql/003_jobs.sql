-- The queue. A worker holds an advisory lock (space 1668441674, number) while it runs a job; a running job whose lock
-- is free has lost its worker.
CREATE TABLE IF NOT EXISTS cim.job (
    number     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job        uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    kind       text NOT NULL,              -- which function of the workers runs it
    name       text NOT NULL,              -- the analysis, or the layer of an edit
    parameters jsonb NOT NULL,
    account    text,                       -- NULL: nobody signed in
    role       text,
    address    text,
    status     text NOT NULL DEFAULT 'accepted'
               CHECK (status IN ('accepted', 'running', 'successful', 'failed', 'dismissed')),
    progress   real NOT NULL DEFAULT 0,
    message    text NOT NULL DEFAULT '',
    error      text,                       -- the class of the error
    result     text,
    attempt    int NOT NULL DEFAULT 0,
    worker     int,                        -- its process
    created    timestamptz NOT NULL DEFAULT now(),
    started    timestamptz,
    updated    timestamptz NOT NULL DEFAULT now(),
    finished   timestamptz
);
CREATE INDEX IF NOT EXISTS job_open ON cim.job (number) WHERE status IN ('accepted', 'running');
CREATE INDEX IF NOT EXISTS job_finished ON cim.job (finished) WHERE finished IS NOT NULL;
ALTER TABLE cim.job ADD COLUMN IF NOT EXISTS not_before timestamptz; -- put back until then: a load held its layer
