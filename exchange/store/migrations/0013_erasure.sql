-- Persons that are erased, or shall be. Nothing but new tables, two columns of a table of one row, and two functions:
-- no table of the trade is locked or rewritten, and sales go on.

-- One row for each lead whose person was erased, or waits for it. It outlives the person and says nothing of him:
-- so it can be told when and why, and done again after an old backup was restored.
CREATE TABLE erasure (
  lead_id uuid PRIMARY KEY,
  why text NOT NULL CHECK (why IN ('request', 'retention')),
  by text NOT NULL,                           -- user:LOGIN, key:ID, cli, chores
  asked_at timestamptz NOT NULL DEFAULT now(),
  done_at timestamptz);                       -- null: it waits until every post of the lead has an outcome
CREATE INDEX erasure_waiting ON erasure (lead_id) WHERE done_at IS NULL;
CREATE INDEX erasure_asked ON erasure (asked_at, lead_id);

CREATE TABLE erasure_count (                  -- how many were carried out: a scrape counts no rows
  why text PRIMARY KEY,
  n bigint NOT NULL);

-- Every lead up to this one is older than persons are kept: it was erased, or waits for it.
ALTER TABLE retention ADD COLUMN persons_upto uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';

-- Leads before this one may be indexed by an e-mail address as it was spelled: they are indexed again, newest first.
ALTER TABLE retention ADD COLUMN cased_before uuid NOT NULL DEFAULT 'ffffffff-ffff-ffff-ffff-ffffffffffff';

-- Advisory lock (7006, 2), taken first: who erases a person holds it alone, and so does who copies pings into
-- kept_ping, that none is copied as it was before; who writes a note on a return holds it shared.
CREATE OR REPLACE FUNCTION keep_pings(p_from text, p_low uuid, p_high uuid, p_most int) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE posted uuid[];
BEGIN
  PERFORM pg_advisory_xact_lock(7006, 2);
  SELECT array_agg(ping_id) INTO posted FROM (
    SELECT ping_id FROM lead WHERE ping_id > p_low AND ping_id < p_high AND state <> 'gone' ORDER BY ping_id LIMIT p_most) x;
  IF posted IS NULL THEN RETURN NULL; END IF;
  EXECUTE format('INSERT INTO kept_ping SELECT * FROM %I WHERE id = ANY ($1) ORDER BY id ON CONFLICT DO NOTHING', p_from) USING posted;
  INSERT INTO kept_late_bid SELECT * FROM late_bid WHERE ping > p_low AND ping < p_high AND ping = ANY (posted) ORDER BY ping, contract
    ON CONFLICT DO NOTHING;
  RETURN posted[cardinality(posted)];
END $$;

CREATE OR REPLACE FUNCTION sweep_default(p_high uuid, p_most int) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE ids uuid[]; last uuid;
BEGIN
  PERFORM pg_advisory_xact_lock(7006, 2);
  SELECT array_agg(id) INTO ids FROM (SELECT id FROM ping_default WHERE id < p_high ORDER BY id LIMIT p_most) x;
  IF ids IS NULL THEN
    DELETE FROM late_bid_default WHERE ping < p_high;
    RETURN NULL;
  END IF;
  last := ids[cardinality(ids)];
  INSERT INTO kept_ping SELECT p.* FROM ping_default p WHERE id = ANY (ids)
    AND EXISTS (SELECT 1 FROM lead WHERE ping_id = p.id AND state <> 'gone') ON CONFLICT DO NOTHING;
  INSERT INTO kept_late_bid SELECT b.* FROM late_bid_default b WHERE ping <= last
    AND EXISTS (SELECT 1 FROM lead WHERE ping_id = b.ping AND state <> 'gone') ON CONFLICT DO NOTHING;
  DELETE FROM ping_default WHERE id = ANY (ids);
  DELETE FROM late_bid_default WHERE ping <= last;
  RETURN last;
END $$;
