-- A ping's receipt stays in its row.

-- Without lz4 receipts are stored as they are (0006), and what is longer than a quarter of a page is cut into
-- pieces in a table of its own, each a row and an index entry more. In its row a receipt costs a third less, and
-- two of up to 4 kB fill a page, so no room is lost: 4080 = (8192 - 24 - 2 * 4) / 2. Longer ones are cut as before,
-- for each would have a page to itself. With lz4 most are shorter than a quarter of a page.
CREATE FUNCTION stored_plainly(p_log text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(p_log) AND attname = 'receipt' AND attstorage = 'e') $$;

DO $$ DECLARE day regclass; BEGIN
  IF stored_plainly('ping') THEN
    FOR day IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'ping'::regclass ORDER BY inhrelid LOOP
      EXECUTE format('ALTER TABLE %s SET (toast_tuple_target = 4080)', day);
    END LOOP;
  END IF;
END $$;

-- As in 0006; LIKE does not copy what is set WITH.
CREATE OR REPLACE FUNCTION make_day(p_log text, p_key text, p_day date, p_most int) RETURNS boolean LANGUAGE plpgsql AS $$
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
  IF stored_plainly(p_log) THEN
    EXECUTE format('ALTER TABLE %I SET (toast_tuple_target = 4080)', day);
  END IF;
  EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= $1 AND %2$I < $2 RETURNING *) INSERT INTO %I SELECT * FROM moved',
    spare, p_key, day) USING low, high;
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', p_log, day, low, high);
  RETURN true;
END $$;
