-- What a sale writes, many at once; and logs by the day, which are dropped as a whole when they are old.

-- --- many at once -----------------------------------------------------------------------------------

-- Stores leads and ties their keys to them; one word and one lead for each, in order:
-- opened | taken (by the lead that is named; the key is tied to it) | lost (the key is another request's)
-- | again (the ping was let go just now). No lead, ping or key comes twice.
-- Lock order: claims by key, then inserts by ping.
CREATE FUNCTION open_leads(p_id uuid[], p_ping uuid[], p_seller int[], p_vertical text[], p_test boolean[], p_min_price bigint[],
                           p_external text[], p_owner int[], p_answer_ms int[], p_request bytea[], p_person_key bytea[], p_person bytea[],
                           p_phone bytea[], p_email bytea[], p_path text[], p_key text[], p_run uuid[],
                           OUT words text[], OUT leads uuid[]) LANGUAGE plpgsql AS $$
DECLARE mine boolean[] := array_fill(true, ARRAY[cardinality(p_id)]); keyed boolean; fresh uuid[];
BEGIN
  SELECT bool_or(k IS NOT NULL) INTO keyed FROM unnest(p_key) k;
  IF keyed THEN                                          -- whose key is his still, with nothing said under it
    WITH held AS (
      SELECT c.seller, c.path, c.key FROM unnest(p_seller, p_path, p_key, p_run) w(seller, path, key, run)
      JOIN claim c USING (seller, path, key)
      WHERE c.run IS NOT DISTINCT FROM w.run AND c.lead_id IS NULL AND c.status IS NULL
      ORDER BY c.seller, c.path, c.key FOR UPDATE OF c)
    SELECT array_agg(w.key IS NULL OR h.key IS NOT NULL ORDER BY w.i) INTO mine
    FROM unnest(p_seller, p_path, p_key) WITH ORDINALITY w(seller, path, key, i) LEFT JOIN held h USING (seller, path, key);
  END IF;
  WITH lead_in AS (
    INSERT INTO lead (id, ping_id, seller, vertical, test, state, min_price, external_id, owner, answer_by,
                      request, person_key, person, phone_index, email_index)
    SELECT id, ping, seller, vertical, test, 'open', min_price, external, owner, now() + answer_ms * interval '1 millisecond',
           request, person_key, person, phone, email
    FROM unnest(p_id, p_ping, p_seller, p_vertical, p_test, p_min_price, p_external, p_owner, p_answer_ms, p_request, p_person_key,
                p_person, p_phone, p_email, mine)
           a(id, ping, seller, vertical, test, min_price, external, owner, answer_ms, request, person_key, person, phone, email, mine)
    WHERE a.mine ORDER BY ping
    ON CONFLICT (ping_id) WHERE state <> 'gone' DO NOTHING RETURNING id)
  SELECT coalesce(array_agg(id), '{}') INTO fresh FROM lead_in;
  leads := p_id;
  IF cardinality(fresh) < cardinality(p_id) THEN         -- a look of its own: it sees who was first
    SELECT array_agg(CASE WHEN a.id = ANY (fresh) THEN a.id WHEN a.mine THEN l.id END ORDER BY a.i) INTO leads
    FROM unnest(p_id, p_ping, mine) WITH ORDINALITY a(id, ping, mine, i) LEFT JOIN lead l ON l.ping_id = a.ping AND l.state <> 'gone';
  END IF;
  IF keyed THEN                                          -- a retry finds the lead or finds nothing
    UPDATE claim c SET lead_id = w.lead FROM unnest(p_seller, p_path, p_key, leads) w(seller, path, key, lead)
    WHERE c.seller = w.seller AND c.path = w.path AND c.key = w.key AND w.lead IS NOT NULL;
  END IF;
  SELECT array_agg(CASE WHEN a.id = ANY (fresh) THEN 'opened' WHEN NOT a.mine THEN 'lost' WHEN a.lead IS NULL THEN 'again'
                        ELSE 'taken' END ORDER BY a.i) INTO words
  FROM unnest(p_id, mine, leads) WITH ORDINALITY a(id, mine, lead, i);
END $$;

-- close_lead for many; no lead comes twice. Leads are locked by id, by one statement, and looked at by the next.
CREATE FUNCTION close_leads(p_id uuid[], p_owner int[], p_state text[], p_reason text[], p_receipt bytea[], p_answer bytea[])
  RETURNS bytea[] LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM lead WHERE id = ANY (p_id) ORDER BY id FOR UPDATE;
  UPDATE lead l SET state = c.state, reason = c.reason, receipt = c.receipt, answer = c.answer, closed_at = clock_timestamp()
  FROM unnest(p_id, p_owner, p_state, p_reason, p_receipt, p_answer) c(id, owner, state, reason, receipt, answer)
  WHERE l.id = c.id AND l.state = 'open' AND (c.state = 'sold' OR (l.owner = c.owner AND NOT EXISTS (
    SELECT 1 FROM attempt WHERE lead_id = l.id AND state IN ('intent', 'unconfirmed', 'accepted'))));
  RETURN (SELECT array_agg(l.answer ORDER BY a.i) FROM unnest(p_id) WITH ORDINALITY a(id, i) LEFT JOIN lead l USING (id));
END $$;

-- --- logs by the day --------------------------------------------------------------------------------

-- Ids of pings are UUIDv7: a range of ids is a range of time, and the key stays (id). A day, in UTC, is a
-- partition; days are made ahead and dropped when they are old (exchange/store/days.py). By the day and not
-- by the hour: 90 days are some hundred tables, which a plan for any ping has to lock one by one.
-- What has no day (made in time, it always has) lies in the default partition, and is found and kept alike.
-- What was written before this file stays where it is, untouched: in kept_ping, beside the pings of posted
-- leads, which stay when their day is dropped. Both have the columns of ping, in the same order, for ever.
ALTER TABLE ping RENAME TO kept_ping;
ALTER INDEX ping_pkey RENAME TO kept_ping_pkey;
DROP INDEX ping_seller;                       -- nobody asked by it
ALTER TABLE late_bid RENAME TO kept_late_bid;
ALTER INDEX late_bid_pkey RENAME TO kept_late_bid_pkey;

CREATE TABLE ping (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  seller int NOT NULL,
  expires_at timestamptz NOT NULL,
  price bigint,                               -- the quote, net; null: no bid
  external_id text,
  test boolean NOT NULL,
  receipt bytea NOT NULL)                     -- orjson: fields, results, ranking; no personal data
  PARTITION BY RANGE (id);
CREATE TABLE late_bid (                       -- bids that came after the close: void, kept, counted
  ping uuid NOT NULL, contract text NOT NULL, price bigint, late_ms int NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (ping, contract)) PARTITION BY RANGE (ping);

-- pglz costs more than all the rest of a ping's row. A server built without lz4 gets no compression for
-- pings, which are many and soon gone; leads, which stay, it compresses as before.
DO $$ BEGIN
  ALTER TABLE ping ALTER receipt SET COMPRESSION lz4;
  ALTER TABLE lead ALTER request SET COMPRESSION lz4, ALTER receipt SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
  ALTER TABLE ping ALTER receipt SET STORAGE EXTERNAL;
END $$;
CREATE TABLE ping_default PARTITION OF ping DEFAULT;
CREATE TABLE late_bid_default PARTITION OF late_bid DEFAULT;

CREATE TABLE retention (                      -- one row at most
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  swept uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000');  -- up to this ping kept_ping has what leads refer to, no more

-- The least id of a ping from this moment on.
CREATE FUNCTION first_id(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS
  $$ SELECT rpad(lpad(to_hex(floor(extract(epoch FROM p_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid $$;
CREATE FUNCTION first_id_of(p_day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS
  $$ SELECT first_id(p_day::timestamp AT TIME ZONE 'UTC') $$;

-- Makes the partition of a day, with what the default holds of it. False: it is there, or the default holds
-- more than p_most of it: then that day stays there, for nobody may write to it while it is moved.
-- (7006, 1): one at a time changes partitions.
CREATE FUNCTION make_day(p_log text, p_key text, p_day date, p_most int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE day text := p_log || to_char(p_day, '_YYYYMMDD'); spare text := p_log || '_default'; few int;
        low uuid := first_id_of(p_day); high uuid := first_id_of(p_day + 1);
BEGIN
  PERFORM pg_advisory_xact_lock(7006, 1);
  IF to_regclass(day) IS NOT NULL THEN RETURN false; END IF;
  EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', spare);  -- nothing slips in behind the move
  EXECUTE format('SELECT count(*) FROM (SELECT FROM %I WHERE %I >= $1 AND %2$I < $2 LIMIT $3) x', spare, p_key)
    INTO few USING low, high, p_most + 1;
  IF few > p_most THEN RETURN false; END IF;
  -- Only ever inserted into: worth a vacuum per million rows, and no look at its values.
  EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000, autovacuum_analyze_threshold = 2147483647)', day, p_log);
  EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= $1 AND %2$I < $2 RETURNING *) INSERT INTO %I SELECT * FROM moved',
    spare, p_key, day) USING low, high;
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', p_log, day, low, high);
  RETURN true;
END $$;

CREATE FUNCTION drop_day(p_log text, p_day date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7006, 1);
  EXECUTE format('DROP TABLE IF EXISTS %I', p_log || to_char(p_day, '_YYYYMMDD'));
END $$;

-- Keeps the pings of posted leads between two ids, at most p_most of them; the last one, or null: all are kept.
CREATE FUNCTION keep_pings(p_from text, p_low uuid, p_high uuid, p_most int) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE posted uuid[];
BEGIN
  SELECT array_agg(ping_id) INTO posted FROM (
    SELECT ping_id FROM lead WHERE ping_id > p_low AND ping_id < p_high AND state <> 'gone' ORDER BY ping_id LIMIT p_most) x;
  IF posted IS NULL THEN RETURN NULL; END IF;
  EXECUTE format('INSERT INTO kept_ping SELECT * FROM %I WHERE id = ANY ($1) ORDER BY id ON CONFLICT DO NOTHING', p_from) USING posted;
  INSERT INTO kept_late_bid SELECT * FROM late_bid WHERE ping > p_low AND ping < p_high AND ping = ANY (posted) ORDER BY ping, contract
    ON CONFLICT DO NOTHING;
  RETURN posted[cardinality(posted)];
END $$;

-- Forgets what no lead refers to among the next p_most pings of kept_ping; null: none is left before p_high.
CREATE FUNCTION sweep_kept(p_high uuid, p_most int) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE r retention; ids uuid[]; last uuid;
BEGIN
  INSERT INTO retention DEFAULT VALUES ON CONFLICT DO NOTHING;
  SELECT * INTO STRICT r FROM retention FOR UPDATE;
  SELECT array_agg(id) INTO ids FROM (SELECT id FROM kept_ping WHERE id > r.swept AND id < p_high ORDER BY id LIMIT p_most) x;
  IF ids IS NULL THEN RETURN NULL; END IF;
  last := ids[cardinality(ids)];
  DELETE FROM kept_ping k WHERE id = ANY (ids) AND NOT EXISTS (SELECT 1 FROM lead WHERE ping_id = k.id AND state <> 'gone');
  DELETE FROM kept_late_bid k WHERE ping > r.swept AND ping <= last
    AND NOT EXISTS (SELECT 1 FROM lead WHERE ping_id = k.ping AND state <> 'gone');
  UPDATE retention SET swept = last;
  RETURN last;
END $$;

-- Forgets the next p_most old pings of the default partition that no lead refers to, and keeps the others. Null: none is left.
CREATE FUNCTION sweep_default(p_high uuid, p_most int) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE ids uuid[]; last uuid;
BEGIN
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
