-- A load that was taken back says when; its versions stay, as what was known until then.
ALTER TABLE cim.load ADD COLUMN IF NOT EXISTS undone timestamptz;
