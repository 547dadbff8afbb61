-- What reports and the console's pages read: sums by the hour, and indexes. Workers write none of the sums:
-- the office's chores make them out of pings, attempts and transfers (exchange/chores/).

-- --- indexes for pages: one statement a line, with the page it is for ---------------------------------

-- Money: one account's transfers, newest first, each kind by itself, so that a filter which matches nothing is
-- as quick as one that matches all.
CREATE INDEX transfer_debit ON transfer (debit, kind, at DESC, ref DESC);
CREATE INDEX transfer_credit ON transfer (credit, kind, at DESC, ref DESC);
-- Money: everything of some minutes. Rows come in the order of their time: a few bytes for many pages.
CREATE INDEX transfer_at ON transfer USING brin (at) WITH (pages_per_range = 16, autosummarize = on);
-- Reports: what was decided lately.
CREATE INDEX sale_return_decided ON sale_return (decided_at) WHERE status = 'approved';

-- Leads: ids are UUIDv7, so each of these gives a list in the order of time. lead_seller was asked by nobody.
DROP INDEX lead_seller;
CREATE INDEX lead_of_seller ON lead (seller, state, id);
CREATE INDEX lead_of_vertical ON lead (vertical, state, id);
CREATE INDEX lead_reason ON lead (reason, id) WHERE reason IS NOT NULL;
CREATE INDEX lead_test ON lead (id) WHERE test;
-- Leads of a buyer, by how their posts stand.
CREATE INDEX attempt_of_buyer ON attempt (buyer_id, state, lead_id);

-- Contracts and buyers: as attempt_turn, which it replaces; with what a day's figures are counted from.
CREATE INDEX attempt_contract ON attempt (contract_id, created_at DESC) INCLUDE (state, price);
DROP INDEX attempt_turn;
-- Contracts and buyers: what people did to one.
CREATE INDEX console_event_subject ON console_event (subject, id DESC) WHERE subject <> '';

-- --- documents and certificates -----------------------------------------------------------------------

-- Filters may hold 50,000 values; lists want the rest of a document without reading them.
ALTER TABLE document ADD COLUMN head jsonb GENERATED ALWAYS AS (body - 'filters') STORED,
  ADD COLUMN conditions int GENERATED ALWAYS AS (jsonb_array_length(body->'filters')) STORED;

CREATE TABLE certificate_history (            -- the last twenty certifications of each contract
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  contract_id int NOT NULL REFERENCES contract,
  at timestamptz NOT NULL,
  passed boolean NOT NULL,
  repeats text NOT NULL,
  report jsonb NOT NULL);
CREATE INDEX certificate_history_contract ON certificate_history (contract_id, id DESC);
CREATE FUNCTION keep_certificate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO certificate_history (contract_id, at, passed, repeats, report)
  VALUES (NEW.contract_id, NEW.at, NEW.passed, NEW.repeats, NEW.report);
  DELETE FROM certificate_history WHERE id IN (
    SELECT id FROM certificate_history WHERE contract_id = NEW.contract_id ORDER BY id DESC OFFSET 20);
  RETURN NULL;
END $$;
CREATE TRIGGER kept AFTER INSERT OR UPDATE ON certificate FOR EACH ROW EXECUTE FUNCTION keep_certificate();
INSERT INTO certificate_history (contract_id, at, passed, repeats, report)
SELECT contract_id, at, passed, repeats, report FROM certificate ORDER BY at;

-- --- sums for reports ---------------------------------------------------------------------------------

-- One row for each hour, vertical, currency, seller and contract that had to do with each other; contract 0:
-- the ping itself, whoever was asked. An hour is that of the ping: what becomes of it later is added there.
-- Tests are not in it. Money is micros. t1 to t20: answers that took up to 5, 7, 10, … ms (exchange/chores/cells.py).
CREATE TABLE report_hour (
  hour timestamptz NOT NULL, vertical text NOT NULL, currency text NOT NULL, seller int NOT NULL, contract int NOT NULL,
  pings int NOT NULL, quotes int NOT NULL, leads int NOT NULL, sold int NOT NULL,            -- of contract 0 only
  asked int NOT NULL, bids int NOT NULL, fixed int NOT NULL, no_bids int NOT NULL, invalid int NOT NULL,
  timed_out int NOT NULL, unreachable int NOT NULL, garbled int NOT NULL, failed int NOT NULL, won int NOT NULL, bid_sum bigint NOT NULL,
  t1 int NOT NULL, t2 int NOT NULL, t3 int NOT NULL, t4 int NOT NULL, t5 int NOT NULL, t6 int NOT NULL, t7 int NOT NULL,
  t8 int NOT NULL, t9 int NOT NULL, t10 int NOT NULL, t11 int NOT NULL, t12 int NOT NULL, t13 int NOT NULL, t14 int NOT NULL,
  t15 int NOT NULL, t16 int NOT NULL, t17 int NOT NULL, t18 int NOT NULL, t19 int NOT NULL, t20 int NOT NULL,
  posts int NOT NULL, accepted int NOT NULL, rejected int NOT NULL, not_sent int NOT NULL, waiting int NOT NULL,
  revenue bigint NOT NULL, payout bigint NOT NULL,                                           -- of what was accepted
  returned int NOT NULL, returned_revenue bigint NOT NULL, returned_payout bigint NOT NULL,  -- of that, what was given back
  PRIMARY KEY (hour, seller, contract, vertical, currency)) WITH (fillfactor = 80);
CREATE INDEX report_hour_seller ON report_hour (seller, hour) WHERE contract > 0;
CREATE INDEX report_hour_contract ON report_hour (contract, hour) WHERE contract > 0;
-- The same by whole days, in UTC, of those that were asked. A day is made when it is over (report_state.days_upto).
CREATE TABLE report_day (LIKE report_hour INCLUDING STORAGE);
ALTER TABLE report_day RENAME hour TO day;
ALTER TABLE report_day ADD PRIMARY KEY (day, seller, contract, vertical, currency), SET (fillfactor = 80);
CREATE INDEX report_day_contract ON report_day (contract, day);

-- The same added up: by `seller` (contract 0, everything of the ping and of all that were asked), by `contract`
-- (seller 0); by the hour and, once they are over, by days.
CREATE TABLE report_sum (
  span text NOT NULL CHECK (span IN ('hour', 'day')),
  by text NOT NULL CHECK (by IN ('seller', 'contract')),
  start timestamptz NOT NULL, vertical text NOT NULL, currency text NOT NULL, seller int NOT NULL, contract int NOT NULL,
  pings bigint NOT NULL, quotes bigint NOT NULL, leads bigint NOT NULL, sold bigint NOT NULL,
  asked bigint NOT NULL, bids bigint NOT NULL, fixed bigint NOT NULL, no_bids bigint NOT NULL, invalid bigint NOT NULL,
  timed_out bigint NOT NULL, unreachable bigint NOT NULL, garbled bigint NOT NULL, failed bigint NOT NULL, won bigint NOT NULL, bid_sum bigint NOT NULL,
  t1 bigint NOT NULL, t2 bigint NOT NULL, t3 bigint NOT NULL, t4 bigint NOT NULL, t5 bigint NOT NULL, t6 bigint NOT NULL, t7 bigint NOT NULL,
  t8 bigint NOT NULL, t9 bigint NOT NULL, t10 bigint NOT NULL, t11 bigint NOT NULL, t12 bigint NOT NULL, t13 bigint NOT NULL, t14 bigint NOT NULL,
  t15 bigint NOT NULL, t16 bigint NOT NULL, t17 bigint NOT NULL, t18 bigint NOT NULL, t19 bigint NOT NULL, t20 bigint NOT NULL,
  posts bigint NOT NULL, accepted bigint NOT NULL, rejected bigint NOT NULL, not_sent bigint NOT NULL, waiting bigint NOT NULL,
  revenue bigint NOT NULL, payout bigint NOT NULL,
  returned bigint NOT NULL, returned_revenue bigint NOT NULL, returned_payout bigint NOT NULL,
  PRIMARY KEY (by, span, start, seller, contract, vertical, currency)) PARTITION BY LIST (by);
-- Sellers are few: apart from the contracts, their hours lie close together.
CREATE TABLE report_sum_of_sellers PARTITION OF report_sum FOR VALUES IN ('seller') WITH (fillfactor = 80);
CREATE TABLE report_sum_of_contracts PARTITION OF report_sum FOR VALUES IN ('contract') WITH (fillfactor = 80);
CREATE INDEX report_sum_seller ON report_sum (seller, by, span, start) WHERE seller > 0;
CREATE INDEX report_sum_contract ON report_sum (contract, by, span, start) WHERE contract > 0;

-- How far the sums go.
CREATE TABLE report_state (                   -- one row
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  pings_upto uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',  -- every ping up to this one is counted
  sales_upto timestamptz NOT NULL DEFAULT 'epoch',   -- of hours before this one, only what is waiting can change
  returns_upto timestamptz NOT NULL DEFAULT 'epoch', -- what was decided before is known
  days_upto timestamptz NOT NULL DEFAULT 'epoch',    -- days before this moment are made
  at timestamptz NOT NULL DEFAULT 'epoch');          -- sums are right up to then, as far as was known
INSERT INTO report_state DEFAULT VALUES;
CREATE TABLE report_done (
  hour timestamptz PRIMARY KEY,
  waiting bigint NOT NULL,                    -- a checksum of what was open when its sales were added up; 0: nothing
  counted boolean NOT NULL DEFAULT false);    -- its pings were counted again when no more could come
CREATE INDEX report_done_waiting ON report_done (hour) WHERE waiting <> 0;
CREATE INDEX report_done_counted ON report_done (hour) WHERE NOT counted;

-- The hour in which a ping was made, by its id.
CREATE FUNCTION hour_of(p_id uuid) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
  $$ SELECT to_timestamp((('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 3600000 * 3600)::float8) $$;

-- --- sums for money -----------------------------------------------------------------------------------

-- What each account was debited and credited, by kind: altogether up to ledger_state.upto, by the hour up to
-- there, and by whole days in UTC. A balance is `total` and what came since.
CREATE TABLE ledger_sum (
  account int NOT NULL REFERENCES account,
  span text NOT NULL CHECK (span IN ('hour', 'day', 'total')),
  start timestamptz NOT NULL,                 -- total: -infinity
  kind text NOT NULL,
  debited bigint NOT NULL, credited bigint NOT NULL, moves bigint NOT NULL,
  PRIMARY KEY (account, span, start, kind));
CREATE INDEX ledger_sum_total ON ledger_sum (account) INCLUDE (debited, credited, moves) WHERE span = 'total';
CREATE TABLE ledger_state (                   -- one row
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  upto timestamptz NOT NULL,                  -- every transfer before this moment is in the sums, and none after it
  checked_upto timestamptz NOT NULL);         -- hours before this one were added up a second time
INSERT INTO ledger_state (upto, checked_upto)
  SELECT m, m FROM (SELECT date_trunc('hour', coalesce(min(at), now()), 'UTC') AS m FROM transfer) x;

-- What moved on an account from one moment to before another, by kind. Whole days and hours out of their sums,
-- the rest out of the transfers: exact for any two moments. p_from may be -infinity: then since ever.
CREATE FUNCTION ledger_moved(p_account int, p_from timestamptz, p_to timestamptz)
  RETURNS TABLE (kind text, debited bigint, credited bigint, moves bigint) LANGUAGE plpgsql STABLE AS $$
DECLARE upto timestamptz := (SELECT s.upto FROM ledger_state s);
        h1 timestamptz; h2 timestamptz; d1 timestamptz; d2 timestamptz;
BEGIN
  IF p_to <= p_from THEN RETURN; END IF;
  h1 := CASE WHEN p_from = '-infinity' THEN p_from
             ELSE date_trunc('hour', p_from + interval '1 hour' - interval '1 microsecond', 'UTC') END;
  h2 := CASE WHEN p_to >= upto THEN upto ELSE date_trunc('hour', p_to, 'UTC') END;
  h2 := greatest(h1, h2);                     -- within one hour: transfers only
  h1 := least(h1, p_to);
  h2 := least(h2, p_to);
  d1 := CASE WHEN h1 = '-infinity' THEN h1 ELSE date_trunc('day', h1 + interval '1 day' - interval '1 microsecond', 'UTC') END;
  d2 := greatest(d1, date_trunc('day', h2, 'UTC'));
  RETURN QUERY
  SELECT x.kind, sum(x.debited)::bigint, sum(x.credited)::bigint, sum(x.moves)::bigint FROM (
    SELECT s.kind, s.debited, s.credited, s.moves FROM ledger_sum s
      WHERE s.account = p_account AND s.span = 'day' AND s.start >= d1 AND s.start < d2
    UNION ALL SELECT s.kind, s.debited, s.credited, s.moves FROM ledger_sum s
      WHERE s.account = p_account AND s.span = 'hour' AND s.start >= h1 AND s.start < least(d1, h2)
    UNION ALL SELECT s.kind, s.debited, s.credited, s.moves FROM ledger_sum s
      WHERE s.account = p_account AND s.span = 'hour' AND s.start >= d2 AND s.start < h2
    UNION ALL SELECT t.kind, t.amount * (t.debit = p_account)::int, t.amount * (t.credit = p_account)::int, 1
      FROM (VALUES (p_from, h1), (h2, p_to)) edge(low, high) CROSS JOIN LATERAL (
        SELECT e.* FROM unnest(ARRAY['hold', 'release', 'sale', 'margin', 'deposit', 'return', 'return_margin']) k
          CROSS JOIN LATERAL (SELECT * FROM transfer WHERE debit = p_account AND transfer.kind = k AND at >= low AND at < high
                    UNION ALL SELECT * FROM transfer WHERE credit = p_account AND transfer.kind = k AND at >= low AND at < high) e) t
      WHERE low < high) x
  GROUP BY x.kind;
END $$;
