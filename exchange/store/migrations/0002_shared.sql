-- Shared leads, paced caps, a reserve of credit, and one sale per person in a vertical.

-- A lead is sold to one (slot 0), or to at most `shares` buyers (slots 1 to shares). What one of them was
-- promised binds all: every live attempt of a lead names the same number.
ALTER TABLE attempt ADD COLUMN shares smallint NOT NULL DEFAULT 1,
  ADD CHECK ((slot = 0 AND shares = 1) OR slot BETWEEN 1 AND shares);
ALTER TABLE cap ADD COLUMN paced boolean NOT NULL DEFAULT false,  -- only so much of it as of the day is over
  ADD COLUMN reserve bigint NOT NULL DEFAULT 0;                    -- credit: what must be left after every award

CREATE TABLE vertical (                       -- what the award needs to know of a vertical
  slug text PRIMARY KEY,
  dedupe_days int NOT NULL);                  -- no second sale of a person within so many days

-- Marks awards that would sell a person again: `duplicate` to a buyer that has, or may have, a lead of this
-- person within its contract's days; `duplicate_in_vertical` to anybody within the vertical's. By phone or by
-- e-mail, leads in flight and earlier ones of the same batch included. Whoever asks holds a lock for each
-- buyer, vertical and person until he commits, taken in order, so that two cannot both find nothing.
CREATE OR REPLACE FUNCTION mark_duplicates(p_lead uuid[], p_contract int[], v text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE buyers int[]; days int[]; kinds text[]; kind_days int[]; phones bytea[]; emails bytea[];
BEGIN
  SELECT array_agg(c.buyer_id ORDER BY i), array_agg(coalesce(c.dedupe_days, 0) ORDER BY i),
         array_agg(l.vertical ORDER BY i), array_agg(coalesce(k.dedupe_days, 0) ORDER BY i),
         array_agg(l.phone_index ORDER BY i), array_agg(l.email_index ORDER BY i)
    INTO buyers, days, kinds, kind_days, phones, emails
    FROM unnest(p_lead, p_contract) WITH ORDINALITY a(lead_id, contract_id, i)
    LEFT JOIN contract c ON c.id = a.contract_id LEFT JOIN lead l ON l.id = a.lead_id
    LEFT JOIN vertical k ON k.slug = l.vertical;
  PERFORM pg_advisory_xact_lock(7004, h) FROM (
    SELECT DISTINCT hashtext(scope || ':' || encode(x, 'hex')) AS h
    FROM unnest(buyers, days, kinds, kind_days, phones, emails) a(b, d, k, kd, p, e), LATERAL unnest(ARRAY[p, e]) x,
      LATERAL (VALUES (b::text, d), (k, kd)) s(scope, within)
    WHERE within > 0 AND x IS NOT NULL ORDER BY h) locks;
  FOR i IN 1 .. cardinality(p_lead) LOOP
    IF kind_days[i] > 0 AND (EXISTS (
        SELECT 1 FROM lead l JOIN attempt t ON t.lead_id = l.id
        WHERE (l.phone_index = phones[i] OR l.email_index = emails[i]) AND l.id <> p_lead[i] AND l.vertical = kinds[i]
          AND t.state NOT IN ('rejected', 'not_sent') AND t.created_at > now() - kind_days[i] * interval '1 day')
      OR EXISTS (SELECT 1 FROM unnest(p_lead[1:i-1], kinds[1:i-1], phones[1:i-1], emails[1:i-1], v[1:i-1]) d(l, k, p, e, w)
                 WHERE l <> p_lead[i] AND k = kinds[i] AND w = 'granted' AND (p = phones[i] OR e = emails[i])))
    THEN v[i] := 'duplicate_in_vertical';
    ELSIF days[i] > 0 AND (EXISTS (
        SELECT 1 FROM lead l JOIN attempt t ON t.lead_id = l.id
        WHERE (l.phone_index = phones[i] OR l.email_index = emails[i]) AND l.id <> p_lead[i]
          AND t.buyer_id = buyers[i] AND t.state NOT IN ('rejected', 'not_sent')
          AND t.created_at > now() - days[i] * interval '1 day')
      OR EXISTS (SELECT 1 FROM unnest(p_lead[1:i-1], buyers[1:i-1], phones[1:i-1], emails[1:i-1], v[1:i-1]) d(l, b, p, e, w)
                 WHERE l <> p_lead[i] AND b = buyers[i] AND w = 'granted' AND (p = phones[i] OR e = emails[i])))
    THEN v[i] := 'duplicate'; END IF;
  END LOOP;
  RETURN v;
END $$;

-- Near a limit: which awards of a batch still fit, one by one in the order given. `bids`, `lims` and
-- `room` are the locked buckets; the l… arrays say which of them bind which contract, oldest cap first.
CREATE FUNCTION fit_one_by_one(v text[], p_lead uuid[], p_contract int[], p_slot smallint[], p_shares smallint[], p_price bigint[],
                               p_day double precision[], lc int[], lb bigint[], lm bool[], lkind text[], lpaced bool[], lreserve bigint[],
                               bids bigint[], lims bigint[], room bigint[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE j int; need bigint; full_kind text;
BEGIN
  FOR i IN 1 .. cardinality(v) LOOP
    CONTINUE WHEN v[i] <> 'granted';
    IF EXISTS (SELECT 1 FROM attempt t WHERE t.lead_id = p_lead[i] AND t.state NOT IN ('rejected', 'not_sent')
                 AND (t.slot = p_slot[i] OR t.shares <> p_shares[i] OR (t.slot = 0) <> (p_slot[i] = 0)))
      OR EXISTS (SELECT 1 FROM unnest(p_lead[1:i-1], p_slot[1:i-1], v[1:i-1]) d(l, s, w) WHERE l = p_lead[i] AND s = p_slot[i] AND w = 'granted')
    THEN v[i] := 'already_sold'; CONTINUE; END IF;       -- whatever becomes of the other: no room was looked for here
    full_kind := NULL;
    FOR k IN 1 .. coalesce(cardinality(lb), 0) LOOP
      CONTINUE WHEN lc[k] <> p_contract[i];
      j := array_position(bids, lb[k]);
      need := CASE WHEN lm[k] THEN p_price[i] ELSE 1 END;
      IF room[j] - lreserve[k] < need THEN full_kind := 'cap_' || lkind[k]; EXIT; END IF;
      IF lpaced[k] AND p_day[i] IS NOT NULL AND room[j] - (lims[j] - ceil(lims[j] * p_day[i])::bigint) < need THEN
        full_kind := 'paced'; EXIT;
      END IF;
    END LOOP;
    IF full_kind IS NOT NULL THEN
      v[i] := CASE full_kind WHEN 'cap_credit' THEN 'credit' ELSE full_kind END; CONTINUE;
    END IF;
    FOR k IN 1 .. coalesce(cardinality(lb), 0) LOOP
      CONTINUE WHEN lc[k] <> p_contract[i];
      j := array_position(bids, lb[k]);
      room[j] := room[j] - CASE WHEN lm[k] THEN p_price[i] ELSE 1 END;
    END LOOP;
  END LOOP;
  RETURN v;
END $$;

-- Holds every limit and writes the intent, or says why not; one verdict for each award, in order:
-- granted | repeat (this attempt is already there) | closed (the lead is not this worker's any more)
-- | paused | already_sold | duplicate_in_vertical | duplicate | cap_sales | cap_spend | cap_concurrent | credit | paced.
-- p_slot and p_shares: 0 and 1 for an exclusive lead, else the place among at most so many buyers.
-- p_day: the part of the contract's open day that is over, for caps that are spread over it; null: no such.
-- Lock order everywhere: buckets by id, then attempts by id, then leads by id, then inserts by lead.
-- Every award holds advisory lock (7001, 0) shared; who changes caps takes it exclusively, so that
-- no award can miss a cap that begins while it runs. READ COMMITTED only.
DROP FUNCTION award_many;
CREATE FUNCTION award_many(p_id uuid[], p_lead uuid[], p_contract int[], p_slot smallint[], p_shares smallint[], p_price bigint[],
                           p_payout bigint[], p_seller int[], p_margin int[], p_tier text[], p_bid text[], p_day double precision[],
                           p_owner int) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  v text[] := array_fill('granted'::text, ARRAY[cardinality(p_id)]);
  lc int[]; lb bigint[]; lm bool[]; lkind text[]; lpaced bool[]; lreserve bigint[]; missing bool; fits bool; shared bool;
  bids bigint[]; lims bigint[]; room bigint[]; mine uuid[]; turns int := 0; out text[];
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7001, 0);
  IF EXISTS (SELECT 1 FROM contract WHERE id = ANY (p_contract) AND dedupe_days > 0)
    OR EXISTS (SELECT 1 FROM vertical WHERE dedupe_days > 0) THEN
    v := mark_duplicates(p_lead, p_contract, v);         -- the persons' locks come before every row's
  END IF;
  LOOP                                                   -- 1. which buckets, just now, for these contracts
    SELECT array_agg(contract), array_agg(bucket), array_agg(money), array_agg(kind), array_agg(paced), array_agg(reserve),
           coalesce(bool_or(bucket IS NULL), false)
      INTO lc, lb, lm, lkind, lpaced, lreserve, missing
      FROM (SELECT c.id, b.id, b.money, cap.kind, cap.paced, cap.reserve
            FROM contract c JOIN cap ON cap.owner = ANY (ARRAY[c.id, c.buyer_id]) AND cap.kind <> 'pings'
            LEFT JOIN bucket b ON b.cap_id = cap.id AND b.start =
              CASE period WHEN 'total' THEN timestamp '2000-01-01' ELSE date_trunc(period, now() AT TIME ZONE tz) END
            WHERE c.id = ANY (p_contract)
            ORDER BY cap.id) x (contract, bucket, money, kind, paced, reserve);  -- of several full limits the oldest cap is named
    EXIT WHEN NOT missing;
    turns := turns + 1;
    IF turns > 3 THEN RAISE EXCEPTION 'buckets stay invisible: award_many needs READ COMMITTED'; END IF;
    PERFORM open_buckets(p_contract);
  END LOOP;
  SELECT array_agg(id), array_agg(lim), array_agg(lim - used) INTO bids, lims, room   -- 2. lock every row once, in id order
    FROM (SELECT id, lim, used FROM bucket WHERE id = ANY (lb) ORDER BY id FOR UPDATE) x;
  SELECT coalesce(bool_and(d.need <= x.room - d.reserve AND NOT d.paced), true) INTO fits   -- 3. does everything fit?
    FROM (SELECT l.b, sum(CASE WHEN l.m THEN a.price ELSE 1 END) AS need, max(l.reserve) AS reserve, bool_or(l.paced) AS paced
          FROM unnest(p_contract, p_price) a(c, price) JOIN unnest(lc, lb, lm, lreserve, lpaced) l(c, b, m, reserve, paced) USING (c)
          GROUP BY l.b) d
    JOIN unnest(bids, room) x(b, room) USING (b);
  IF NOT fits THEN
    -- Who is refused for something else takes no room; the insert below says so again, under its locks.
    SELECT array_agg(CASE WHEN a.verdict <> 'granted' THEN a.verdict
                          WHEN EXISTS (SELECT 1 FROM attempt t WHERE t.id = a.id) THEN 'repeat'
                          WHEN l.id IS NULL THEN 'closed'
                          WHEN (c.active AND NOT c.paused AND y.active AND NOT y.paused AND NOT (SELECT paused FROM house)) IS NOT TRUE
                            THEN 'paused'
                          WHEN EXISTS (SELECT 1 FROM attempt t WHERE t.lead_id = a.lead_id AND t.buyer_id = c.buyer_id
                                         AND t.state NOT IN ('rejected', 'not_sent')) THEN 'already_sold'
                          ELSE 'granted' END ORDER BY a.i)
      INTO v FROM unnest(p_id, p_lead, p_contract, v) WITH ORDINALITY a(id, lead_id, contract_id, verdict, i)
      LEFT JOIN lead l ON l.id = a.lead_id AND l.state = 'open' AND l.owner = p_owner
      LEFT JOIN contract c ON c.id = a.contract_id LEFT JOIN buyer y ON y.id = c.buyer_id;
    v := fit_one_by_one(v, p_lead, p_contract, p_slot, p_shares, p_price, p_day, lc, lb, lm, lkind, lpaced, lreserve, bids, lims, room);
  END IF;
  -- 4. The lead is still open and still ours. Locked by a statement of its own: the next one sees what
  -- others committed before; and an award of a shared lead locks out every other award of it.
  SELECT bool_or(s > 0) INTO shared FROM unnest(p_slot) s;
  IF shared THEN
    SELECT array_agg(id) INTO mine FROM (SELECT id FROM lead WHERE id = ANY (p_lead) AND state = 'open' AND owner = p_owner
                                         ORDER BY id FOR NO KEY UPDATE) x;
  ELSE
    SELECT array_agg(id) INTO mine FROM (SELECT id FROM lead WHERE id = ANY (p_lead) AND state = 'open' AND owner = p_owner
                                         ORDER BY id FOR SHARE) x;
  END IF;
  WITH a AS (
    SELECT a.*, c.buyer_id, c.slug, y.available, y.held, coalesce(a.lead_id = ANY (mine), false) AS open,
           c.active AND NOT c.paused AND y.active AND NOT y.paused AND NOT (SELECT paused FROM house) AS trading,
           -- Sold under another promise: exclusively, or to another number of buyers.
           EXISTS (SELECT 1 FROM attempt t WHERE t.lead_id = a.lead_id AND t.state NOT IN ('rejected', 'not_sent')
                     AND (t.shares <> a.shares OR (t.slot = 0) <> (a.slot = 0)))
           OR (shared AND EXISTS (SELECT 1 FROM unnest(p_lead, p_slot, p_shares) d(l, s, n)
                                  WHERE l = a.lead_id AND (n <> a.shares OR (s = 0) <> (a.slot = 0)))) AS mixed
    FROM unnest(p_id, p_lead, p_contract, p_slot, p_shares, p_price, p_payout, p_seller, p_margin, p_tier, p_bid, v) WITH ORDINALITY
           a(id, lead_id, contract_id, slot, shares, price, payout, seller, margin, tier, bid_id, verdict, i)
    LEFT JOIN contract c ON c.id = a.contract_id LEFT JOIN buyer y ON y.id = c.buyer_id),
  g AS (SELECT c, array_agg(b ORDER BY b) AS ids FROM unnest(lc, lb) l(c, b) GROUP BY c),
  ins AS (                                               -- 5. write what is granted, all at once
    INSERT INTO attempt (id, lead_id, contract_id, buyer_id, contract, tier, seller_account, margin_account, slot, shares, state,
                         price, payout, bid_id, owner, buckets)
    SELECT a.id, lead_id, contract_id, buyer_id, slug, tier, seller, margin, slot, shares, 'intent', price, payout, bid_id, p_owner,
           coalesce(g.ids, '{}')
    FROM a LEFT JOIN g ON g.c = a.contract_id WHERE verdict = 'granted' AND trading AND open AND NOT mixed ORDER BY lead_id, slot, i
    ON CONFLICT DO NOTHING RETURNING id, contract_id, buyer_id, price),
  up AS (
    UPDATE bucket b SET used = b.used + d.need
    FROM (SELECT l.b, sum(CASE WHEN l.m THEN ins.price ELSE 1 END) AS need
          FROM ins JOIN unnest(lc, lb, lm) l(c, b, m) ON l.c = ins.contract_id GROUP BY l.b) d WHERE b.id = d.b),
  w AS (INSERT INTO transfer (ref, kind, debit, credit, amount)
        SELECT ins.id, 'hold', y.available, y.held, ins.price FROM ins JOIN buyer y ON y.id = ins.buyer_id)
  SELECT array_agg(CASE WHEN ins.id IS NOT NULL THEN 'granted'
                        WHEN EXISTS (SELECT 1 FROM attempt t WHERE t.id = a.id) THEN 'repeat'
                        WHEN NOT a.open THEN 'closed'
                        WHEN a.trading IS NOT TRUE THEN 'paused'
                        WHEN verdict <> 'granted' THEN verdict
                        ELSE 'already_sold' END ORDER BY a.i)
    INTO out FROM a LEFT JOIN ins ON ins.id = a.id;
  RETURN out;
END $$;

-- The first instant at which a clock in this zone shows a wall time. Of a time that comes twice Postgres
-- takes the second: a period would end an hour after the next one has begun.
CREATE FUNCTION first_instant(p_wall timestamp, p_tz text) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE earlier timestamptz := ((p_wall - interval '1 day') AT TIME ZONE p_tz) + interval '24 hours';
BEGIN
  RETURN CASE WHEN earlier AT TIME ZONE p_tz = p_wall THEN least(earlier, p_wall AT TIME ZONE p_tz) ELSE p_wall AT TIME ZONE p_tz END;
END $$;

-- As before, but for periods that end when the clock shows a time twice.
CREATE OR REPLACE FUNCTION lease_pings(p_contract int, p_want int, OUT granted int, OUT valid_s double precision) LANGUAGE plpgsql AS $$
DECLARE ids bigint[]; room bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7001, 0);
  PERFORM open_buckets(ARRAY[p_contract]);
  SELECT array_agg(id), min(lim - used), min(left_s) INTO ids, room, valid_s
    FROM (SELECT b.id, b.lim, b.used, CASE cap.period WHEN 'total' THEN 3600 ELSE
            extract(epoch FROM first_instant(b.start + ('1 ' || cap.period)::interval, cap.tz) - now()) END AS left_s
          FROM contract c JOIN cap ON cap.owner IN (c.id, c.buyer_id) AND cap.kind = 'pings'
          JOIN bucket b ON b.cap_id = cap.id AND b.start = bucket_start(cap.period, cap.tz)
          WHERE c.id = p_contract ORDER BY b.id FOR UPDATE OF b) x;
  granted := greatest(0, least(p_want, coalesce(room, 0)));
  valid_s := greatest(0, coalesce(valid_s, 0));
  UPDATE bucket SET used = used + granted WHERE id = ANY (ids) AND granted > 0;
END $$;
