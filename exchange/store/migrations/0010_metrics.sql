-- What counters of money are made of: all that was moved so far, so that a scrape adds up the last minutes only.
-- Counters read in the books miss no sale, whoever said of it, and however late: a worker, a person, a command.

-- What sales, and what came back of them, moved between two moments. Rows come in the order of their time: the
-- index of a few bytes that pages use (transfer_at) finds them.
CREATE FUNCTION moved_between(p_after timestamptz, p_to timestamptz)
  RETURNS TABLE (vertical text, currency text, kind text, n bigint, amount bigint) LANGUAGE sql STABLE AS $$
  SELECT l.vertical, c.currency, t.kind, count(*), sum(t.amount)::bigint
  FROM transfer t JOIN account c ON c.id = t.debit JOIN attempt a ON a.id = t.ref JOIN lead l ON l.id = a.lead_id
  WHERE t.at > p_after AND t.at <= p_to AND t.kind IN ('sale', 'margin', 'return', 'return_margin')
  GROUP BY 1, 2, 3 $$;

CREATE TABLE money_sum (                      -- everything up to money_upto
  vertical text NOT NULL, currency text NOT NULL, kind text NOT NULL, n bigint NOT NULL, amount bigint NOT NULL,
  PRIMARY KEY (vertical, currency, kind));
CREATE TABLE money_upto (                     -- one row
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  at timestamptz NOT NULL DEFAULT '-infinity');
INSERT INTO money_upto DEFAULT VALUES;

-- Adds the next hour, or what there is of it, to the sums. True: there is more. The last minute stays out, for
-- what was begun then may not have been committed.
CREATE FUNCTION add_up_money() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE since timestamptz; upto timestamptz; last timestamptz := now() - interval '1 minute';
BEGIN
  SELECT at INTO since FROM money_upto FOR UPDATE;
  IF since = '-infinity' THEN                            -- the first time: from the first attempt there ever was
    since := coalesce((SELECT created_at - interval '1 day' FROM attempt ORDER BY id LIMIT 1), last);
  END IF;
  upto := least(since + interval '1 hour', last);
  IF upto <= since THEN RETURN false; END IF;
  INSERT INTO money_sum AS m SELECT * FROM moved_between(since, upto)
  ON CONFLICT (vertical, currency, kind) DO UPDATE SET n = m.n + excluded.n, amount = m.amount + excluded.amount;
  UPDATE money_upto SET at = upto;
  RETURN upto < last;
END $$;
