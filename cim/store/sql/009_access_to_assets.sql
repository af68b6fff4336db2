-- Files may be closed to who hasn't signed in, as rows of layers may; the policy is that of all tables (cim.store.row_policies).
ALTER TABLE cim.asset ADD COLUMN IF NOT EXISTS public boolean NOT NULL DEFAULT true;
