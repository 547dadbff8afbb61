-- A rate's second is named by who asks: so the next one can be leased before it begins, and a lease is never
-- spent in another second than the one it was counted in. A row counts two seconds, `second` and the one after.
-- A second that is neither now nor next (a clock that was set) is granted nothing, and believed by nobody.
ALTER TABLE rate_window ADD COLUMN ahead int NOT NULL DEFAULT 0;
CREATE FUNCTION lease_rate(p_owner int, p_rate int, p_want int, p_second bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE r rate_window; n int; s bigint := floor(extract(epoch FROM clock_timestamp()));
BEGIN
  IF p_second NOT BETWEEN s - 1 AND s + 2 THEN RETURN 0; END IF;
  INSERT INTO rate_window (owner, second, used) VALUES (p_owner, p_second - 1, 0) ON CONFLICT DO NOTHING;
  SELECT * INTO r FROM rate_window WHERE owner = p_owner FOR UPDATE;
  IF r.second > s + 2 THEN r.second := 0; END IF;
  IF p_second < r.second THEN RETURN 0; END IF;  -- its count is gone
  IF p_second > r.second + 1 THEN
    r.used := CASE WHEN p_second = r.second + 2 THEN r.ahead ELSE 0 END;
    r.second := p_second - 1;
    r.ahead := 0;
  END IF;
  IF p_second = r.second THEN
    n := greatest(0, least(p_want, p_rate - r.used));
    r.used := r.used + n;
  ELSE
    n := greatest(0, least(p_want, p_rate - r.ahead));
    r.ahead := r.ahead + n;
  END IF;
  UPDATE rate_window SET second = r.second, used = r.used, ahead = r.ahead WHERE owner = p_owner;
  RETURN n;
END $$;

-- As workers of the version before ask, until they are restarted.
CREATE OR REPLACE FUNCTION lease_rate(p_owner int, p_rate int, p_want int) RETURNS int LANGUAGE sql AS $$
  SELECT lease_rate(p_owner, p_rate, p_want, floor(extract(epoch FROM clock_timestamp()))::bigint) $$;
