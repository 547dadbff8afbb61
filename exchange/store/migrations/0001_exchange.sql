-- The whole schema of the first version. Money is bigint micros. Times are the server's.

-- Contracts and buyers share one id space, so that a cap names its owner by one number.
CREATE SEQUENCE party_id AS int;
CREATE SEQUENCE catalogue_version;

CREATE TABLE document (                       -- the catalogue as it was written
  kind text NOT NULL CHECK (kind IN ('vertical', 'plan', 'seller', 'buyer', 'contract')),
  slug text NOT NULL,
  id int NOT NULL DEFAULT nextval('party_id'),
  body jsonb NOT NULL,
  secret bytea,                               -- contracts: the signing secret, sealed
  version bigint NOT NULL DEFAULT nextval('catalogue_version'),
  deleted boolean NOT NULL DEFAULT false,     -- retired; the slug is never used again
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, slug));
CREATE UNIQUE INDEX document_id ON document (id);
CREATE INDEX document_version ON document (version);

CREATE TABLE document_history (               -- every version that was ever in force
  kind text NOT NULL, slug text NOT NULL, version bigint NOT NULL, body jsonb NOT NULL,
  changed_by text NOT NULL, changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, slug, version));

CREATE TABLE buyer (                          -- what the award needs to know of a buyer
  id int PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  active boolean NOT NULL,
  paused boolean NOT NULL DEFAULT false,      -- by an operator; writing the document leaves it alone
  currency text NOT NULL,
  available int NOT NULL,                     -- its two accounts
  held int NOT NULL,
  prepaid boolean NOT NULL);
CREATE TABLE contract (
  id int PRIMARY KEY,
  slug text NOT NULL UNIQUE,
  buyer_id int NOT NULL REFERENCES buyer,
  active boolean NOT NULL,
  paused boolean NOT NULL DEFAULT false,
  dedupe_days int NOT NULL DEFAULT 0);        -- no lead of a person this buyer bought within so many days
CREATE INDEX contract_buyer ON contract (buyer_id);
CREATE TABLE house (                          -- one row
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  paused boolean NOT NULL DEFAULT false);
INSERT INTO house DEFAULT VALUES;

CREATE TABLE api_key (
  id text PRIMARY KEY,
  digest bytea NOT NULL UNIQUE,               -- keyed HMAC of the key
  role text NOT NULL CHECK (role IN ('admin', 'seller', 'buyer')),
  owner text,                                 -- a seller's or buyer's slug; null for an admin
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz);

-- The journal: double entry. A transfer has two sides, so it cannot but sum to zero.
CREATE TABLE account (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('available', 'held', 'payable', 'margin', 'external')),
  owner int NOT NULL DEFAULT 0,               -- a buyer's or seller's id; 0 for the house
  currency text NOT NULL,
  UNIQUE (kind, owner, currency));
CREATE TABLE transfer (
  ref uuid NOT NULL,                          -- the attempt, or the deposit
  kind text NOT NULL CHECK (kind IN ('hold', 'release', 'sale', 'margin', 'deposit', 'return')),
  debit int NOT NULL REFERENCES account,
  credit int NOT NULL REFERENCES account,
  amount bigint NOT NULL CHECK (amount > 0),
  at timestamptz NOT NULL DEFAULT now(),
  note text,
  CHECK (debit <> credit),
  PRIMARY KEY (ref, kind));

CREATE TABLE cap (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner int NOT NULL,                         -- contract or buyer
  kind text NOT NULL CHECK (kind IN ('sales', 'spend', 'concurrent', 'pings', 'credit', 'share')),
  period text NOT NULL CHECK (period IN ('hour', 'day', 'week', 'month', 'total')),
  tz text NOT NULL,
  lim bigint NOT NULL,                        -- credit: the sum of all deposits
  UNIQUE (owner, kind, period));
CREATE TABLE bucket (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cap_id int NOT NULL REFERENCES cap ON DELETE CASCADE,
  start timestamp NOT NULL,                   -- local wall time of the period's start
  money boolean NOT NULL,                     -- unit: micros, else 1
  transient boolean NOT NULL,                 -- given back on accept too
  lim bigint NOT NULL,                        -- copy of cap.lim, checked under this row's lock
  used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
  UNIQUE (cap_id, start)) WITH (fillfactor = 50);

CREATE TABLE worker (                         -- who is alive: see also the advisory locks
  id int PRIMARY KEY,
  name text NOT NULL,
  beat_at timestamptz NOT NULL DEFAULT now());

CREATE TABLE ping (
  id uuid PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  seller int NOT NULL,
  expires_at timestamptz NOT NULL,
  price bigint,                               -- the quote, net; null: no bid
  external_id text,
  test boolean NOT NULL,
  receipt bytea NOT NULL);                    -- orjson: fields, results, ranking; no personal data
CREATE INDEX ping_seller ON ping (seller, at DESC);

CREATE TABLE late_bid (                       -- bids that came after the close: void, kept, counted
  ping uuid NOT NULL, contract text NOT NULL, price bigint, late_ms int NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (ping, contract));

CREATE TABLE lead (
  id uuid PRIMARY KEY,
  ping_id uuid NOT NULL,
  seller int NOT NULL,
  vertical text NOT NULL,
  test boolean NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'sold', 'unsold', 'gone')),
  reason text,                                -- why unsold
  min_price bigint NOT NULL,                  -- net
  external_id text,
  owner int NOT NULL,                         -- the worker that may post it
  created_at timestamptz NOT NULL DEFAULT now(),
  answer_by timestamptz NOT NULL,             -- the seller's deadline
  closed_at timestamptz,
  request bytea NOT NULL,                     -- what else was asked: no personal data
  receipt bytea,                              -- what happened after the ping: skipped, attempts
  answer bytea,                               -- the final answer, byte for byte
  person_key bytea,                           -- destroyed by erasure
  person bytea NOT NULL,
  phone_index bytea, email_index bytea);      -- keyed HMACs
-- 'gone': the seller hung up, or the worker died, before anything left: the ping may be posted again.
CREATE UNIQUE INDEX lead_ping ON lead (ping_id) WHERE state <> 'gone';
CREATE INDEX lead_open ON lead (owner) WHERE state = 'open';
CREATE INDEX lead_external ON lead (seller, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX lead_phone ON lead (phone_index) WHERE phone_index IS NOT NULL;
CREATE INDEX lead_email ON lead (email_index) WHERE email_index IS NOT NULL;
CREATE INDEX lead_seller ON lead (seller, created_at DESC);

CREATE TABLE attempt (
  id uuid PRIMARY KEY,                        -- the webhook-id
  lead_id uuid NOT NULL,
  contract_id int NOT NULL,
  buyer_id int NOT NULL,
  contract text NOT NULL,                     -- slug
  tier text NOT NULL,
  seller_account int NOT NULL,
  margin_account int NOT NULL,
  slot smallint NOT NULL,                     -- 0 exclusive
  state text NOT NULL CHECK (state IN ('intent', 'accepted', 'rejected', 'not_sent', 'unconfirmed')),
  price bigint NOT NULL CHECK (price > 0),
  payout bigint NOT NULL CHECK (payout BETWEEN 0 AND price),
  bid_id text,
  fence int NOT NULL DEFAULT 0,
  owner int NOT NULL,                         -- the worker that may deliver it
  buckets bigint[] NOT NULL,                  -- exactly what a release gives back
  detail bytea,                               -- orjson: what the buyer said
  tries int NOT NULL DEFAULT 0,               -- re-sends and status questions so far
  next_try_at timestamptz,                    -- unconfirmed: null means that it waits for a person
  created_at timestamptz NOT NULL DEFAULT now(),
  sent_at timestamptz,                        -- our last byte, where known
  settled_at timestamptz) WITH (fillfactor = 85);
CREATE UNIQUE INDEX attempt_slot ON attempt (lead_id, slot) WHERE state NOT IN ('rejected', 'not_sent');
CREATE UNIQUE INDEX attempt_buyer ON attempt (lead_id, buyer_id) WHERE state NOT IN ('rejected', 'not_sent');
CREATE INDEX attempt_lead ON attempt (lead_id);
CREATE INDEX attempt_open ON attempt (owner) WHERE state IN ('intent', 'unconfirmed');
CREATE INDEX attempt_due ON attempt (next_try_at) WHERE state = 'unconfirmed';
CREATE INDEX attempt_turn ON attempt (contract_id, created_at DESC);

CREATE TABLE claim (                          -- Idempotency-Key
  seller int NOT NULL,
  path text NOT NULL,
  key text NOT NULL,
  body bytea NOT NULL,                        -- keyed hash of the parsed body
  owner int NOT NULL,
  run uuid,                                   -- the request that holds it: only that one may free it
  lead_id uuid,                               -- from the moment the lead is stored
  status int,                                 -- pings and stored refusals: the final answer
  answer bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (seller, path, key)) WITH (fillfactor = 70);
CREATE INDEX claim_owner ON claim (owner) WHERE status IS NULL;
CREATE INDEX claim_lead ON claim (lead_id) WHERE lead_id IS NOT NULL;
CREATE INDEX claim_age ON claim (created_at);

CREATE FUNCTION bucket_start(p_period text, p_tz text) RETURNS timestamp LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN CASE p_period WHEN 'total' THEN timestamp '2000-01-01' ELSE date_trunc(p_period, now() AT TIME ZONE p_tz) END;
END $$;

-- Current buckets of a set of contracts, created when missing.
CREATE FUNCTION open_buckets(p_contracts int[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bucket (cap_id, start, money, transient, lim)
  SELECT cap.id, bucket_start(period, tz), kind IN ('spend', 'credit'), kind = 'concurrent', lim
  FROM cap WHERE owner IN (SELECT unnest(p_contracts) UNION SELECT buyer_id FROM contract WHERE id = ANY (p_contracts))
  ORDER BY cap.id
  ON CONFLICT DO NOTHING;
END $$;

-- Marks awards whose buyer has, or may have, a lead of the same person: by phone or by e-mail, within
-- the contract's days, leads in flight and earlier ones of the same batch included. Whoever asks holds
-- a lock for each buyer and person until he commits, taken in order, so that two cannot both find nothing.
CREATE FUNCTION mark_duplicates(p_lead uuid[], p_contract int[], v text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE buyers int[]; days int[]; phones bytea[]; emails bytea[];
BEGIN
  SELECT array_agg(c.buyer_id ORDER BY i), array_agg(coalesce(c.dedupe_days, 0) ORDER BY i),
         array_agg(l.phone_index ORDER BY i), array_agg(l.email_index ORDER BY i)
    INTO buyers, days, phones, emails
    FROM unnest(p_lead, p_contract) WITH ORDINALITY a(lead_id, contract_id, i)
    LEFT JOIN contract c ON c.id = a.contract_id LEFT JOIN lead l ON l.id = a.lead_id;
  PERFORM pg_advisory_xact_lock(7004, h) FROM (
    SELECT DISTINCT hashtext(b || ':' || encode(x, 'hex')) AS h
    FROM unnest(buyers, days, phones, emails) a(b, d, p, e), LATERAL unnest(ARRAY[p, e]) x
    WHERE d > 0 AND x IS NOT NULL ORDER BY h) locks;
  FOR i IN 1 .. cardinality(p_lead) LOOP
    CONTINUE WHEN days[i] = 0;
    IF EXISTS (SELECT 1 FROM lead l JOIN attempt t ON t.lead_id = l.id
               WHERE (l.phone_index = phones[i] OR l.email_index = emails[i]) AND l.id <> p_lead[i]
                 AND t.buyer_id = buyers[i] AND t.state NOT IN ('rejected', 'not_sent')
                 AND t.created_at > now() - days[i] * interval '1 day')
      OR EXISTS (SELECT 1 FROM unnest(p_lead[1:i-1], buyers[1:i-1], phones[1:i-1], emails[1:i-1], v[1:i-1]) d(l, b, p, e, w)
                 WHERE l <> p_lead[i] AND b = buyers[i] AND w = 'granted' AND (p = phones[i] OR e = emails[i]))
    THEN v[i] := 'duplicate'; END IF;
  END LOOP;
  RETURN v;
END $$;

-- Holds every limit and writes the intent, or says why not; one verdict for each award, in order:
-- granted | repeat (this attempt is already there) | closed (the lead is not this worker's any more)
-- | paused | already_sold | cap_sales | cap_spend | cap_concurrent | credit.
-- Lock order everywhere: buckets by id, then attempts by id, then inserts by lead.
-- Every award holds advisory lock (7001, 0) shared; who changes caps takes it exclusively, so that
-- no award can miss a cap that begins while it runs. READ COMMITTED only.
CREATE FUNCTION award_many(p_id uuid[], p_lead uuid[], p_contract int[], p_slot smallint[], p_price bigint[],
                           p_payout bigint[], p_seller int[], p_margin int[], p_tier text[], p_bid text[],
                           p_owner int) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
  v text[] := array_fill('granted'::text, ARRAY[cardinality(p_id)]);
  lc int[]; lb bigint[]; lm bool[]; lkind text[]; missing bool; fits bool;
  bids bigint[]; room bigint[]; full_kind text; turns int := 0; out text[];
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7001, 0);
  IF EXISTS (SELECT 1 FROM contract WHERE id = ANY (p_contract) AND dedupe_days > 0) THEN
    v := mark_duplicates(p_lead, p_contract, v);         -- the persons' locks come before every row's
  END IF;
  LOOP                                                   -- 1. which buckets, just now, for these contracts
    SELECT array_agg(contract), array_agg(bucket), array_agg(money), array_agg(kind), coalesce(bool_or(bucket IS NULL), false)
      INTO lc, lb, lm, lkind, missing
      FROM (SELECT c.id, b.id, b.money, cap.kind FROM contract c JOIN cap ON cap.owner = ANY (ARRAY[c.id, c.buyer_id]) AND cap.kind <> 'pings'
            LEFT JOIN bucket b ON b.cap_id = cap.id AND b.start =
              CASE period WHEN 'total' THEN timestamp '2000-01-01' ELSE date_trunc(period, now() AT TIME ZONE tz) END
            WHERE c.id = ANY (p_contract)
            ORDER BY cap.id) x (contract, bucket, money, kind);  -- of several full limits the oldest cap is named
    EXIT WHEN NOT missing;
    turns := turns + 1;
    IF turns > 3 THEN RAISE EXCEPTION 'buckets stay invisible: award_many needs READ COMMITTED'; END IF;
    PERFORM open_buckets(p_contract);
  END LOOP;
  SELECT array_agg(id), array_agg(lim - used) INTO bids, room               -- 2. lock every row once, in id order
    FROM (SELECT id, lim, used FROM bucket WHERE id = ANY (lb) ORDER BY id FOR UPDATE) x;
  SELECT coalesce(bool_and(d.need <= x.room), true) INTO fits               -- 3. does everything fit?
    FROM (SELECT l.b, sum(CASE WHEN l.m THEN a.price ELSE 1 END) AS need
          FROM unnest(p_contract, p_price) a(c, price) JOIN unnest(lc, lb, lm) l(c, b, m) USING (c) GROUP BY l.b) d
    JOIN unnest(bids, room) x(b, room) USING (b);
  IF NOT fits THEN                                       -- near a limit: one by one, in the order given
    FOR i IN 1 .. cardinality(p_id) LOOP
      CONTINUE WHEN v[i] <> 'granted';
      full_kind := NULL;
      IF EXISTS (SELECT 1 FROM attempt t WHERE t.lead_id = p_lead[i] AND t.slot = p_slot[i] AND t.state NOT IN ('rejected', 'not_sent'))
        OR EXISTS (SELECT 1 FROM unnest(p_lead[1:i-1], p_slot[1:i-1], v[1:i-1]) d(l, s, w) WHERE l = p_lead[i] AND s = p_slot[i] AND w = 'granted')
      THEN CONTINUE; END IF;                             -- the insert below will say already_sold; it takes no room here
      FOR k IN 1 .. coalesce(cardinality(lb), 0) LOOP
        IF lc[k] = p_contract[i] AND room[array_position(bids, lb[k])] < (CASE WHEN lm[k] THEN p_price[i] ELSE 1 END) THEN
          full_kind := lkind[k]; EXIT;
        END IF;
      END LOOP;
      IF full_kind IS NOT NULL THEN
        v[i] := CASE full_kind WHEN 'credit' THEN 'credit' ELSE 'cap_' || full_kind END; CONTINUE;
      END IF;
      FOR k IN 1 .. coalesce(cardinality(lb), 0) LOOP
        IF lc[k] = p_contract[i] THEN
          room[array_position(bids, lb[k])] := room[array_position(bids, lb[k])] - CASE WHEN lm[k] THEN p_price[i] ELSE 1 END;
        END IF;
      END LOOP;
    END LOOP;
  END IF;
  WITH mine AS (                                         -- 4. the lead is still open and still ours
    SELECT id FROM lead WHERE id = ANY (p_lead) AND state = 'open' AND owner = p_owner ORDER BY id FOR SHARE),
  a AS (
    SELECT a.*, c.buyer_id, c.slug, y.available, y.held, mine.id IS NOT NULL AS open,
           c.active AND NOT c.paused AND y.active AND NOT y.paused AND NOT (SELECT paused FROM house) AS trading
    FROM unnest(p_id, p_lead, p_contract, p_slot, p_price, p_payout, p_seller, p_margin, p_tier, p_bid, v) WITH ORDINALITY
           a(id, lead_id, contract_id, slot, price, payout, seller, margin, tier, bid_id, verdict, i)
    LEFT JOIN contract c ON c.id = a.contract_id LEFT JOIN buyer y ON y.id = c.buyer_id LEFT JOIN mine ON mine.id = a.lead_id),
  g AS (SELECT c, array_agg(b ORDER BY b) AS ids FROM unnest(lc, lb) l(c, b) GROUP BY c),
  ins AS (                                               -- 5. write what is granted, all at once
    INSERT INTO attempt (id, lead_id, contract_id, buyer_id, contract, tier, seller_account, margin_account, slot, state,
                         price, payout, bid_id, owner, buckets)
    SELECT a.id, lead_id, contract_id, buyer_id, slug, tier, seller, margin, slot, 'intent', price, payout, bid_id, p_owner,
           coalesce(g.ids, '{}')
    FROM a LEFT JOIN g ON g.c = a.contract_id WHERE verdict = 'granted' AND trading AND open ORDER BY lead_id, slot, i
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

-- Moves attempts along: accepted | rejected | not_sent | unconfirmed. One answer for each, in order:
-- ok | unknown | the terminal state it already has | fenced | the open state that this outcome cannot
-- follow. Buckets first, in the order of the award.
CREATE FUNCTION settle_many(p_id uuid[], p_fence int[], p_outcome text[], p_detail bytea[], p_next_s double precision[])
  RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE out text[];
BEGIN
  -- As an award does: who changes several caps locks their buckets in no order.
  PERFORM pg_advisory_xact_lock_shared(7001, 0);
  PERFORM 1 FROM bucket WHERE id IN (
    SELECT b.id FROM unnest(p_id, p_outcome) w(id, outcome) JOIN attempt t USING (id)
    JOIN bucket b ON b.id = ANY (t.buckets)
      AND (w.outcome IN ('rejected', 'not_sent') OR (w.outcome = 'accepted' AND b.transient))) ORDER BY id FOR UPDATE;
  PERFORM 1 FROM attempt WHERE id = ANY (p_id) ORDER BY id FOR UPDATE;
  WITH w AS (SELECT DISTINCT ON (id) * FROM unnest(p_id, p_fence, p_outcome, p_detail, p_next_s) WITH ORDINALITY
               w(id, fence, outcome, detail, next_s, i) ORDER BY id, i),
  up AS (
    UPDATE attempt t SET state = w.outcome, detail = coalesce(w.detail, t.detail),
      settled_at = CASE WHEN w.outcome <> 'unconfirmed' THEN clock_timestamp() END,
      next_try_at = CASE WHEN w.outcome = 'unconfirmed' THEN now() + w.next_s * interval '1 second' END
    FROM w WHERE t.id = w.id AND t.fence = w.fence
      AND (t.state = 'intent' OR (t.state = 'unconfirmed' AND w.outcome IN ('accepted', 'rejected', 'unconfirmed')))
    RETURNING t.id, t.buyer_id, t.price, t.payout, t.seller_account, t.margin_account, t.buckets, w.outcome),
  give AS (
    UPDATE bucket b SET used = b.used - d.n
    FROM (SELECT b.id, sum(CASE WHEN b.money THEN up.price ELSE 1 END) AS n FROM up JOIN bucket b ON b.id = ANY (up.buckets)
          WHERE up.outcome IN ('rejected', 'not_sent') OR (up.outcome = 'accepted' AND b.transient) GROUP BY b.id) d WHERE b.id = d.id),
  l AS (INSERT INTO transfer (ref, kind, debit, credit, amount)
        SELECT up.id, x.kind, y.held, x.acc, x.amt FROM up JOIN buyer y ON y.id = up.buyer_id,
        LATERAL (SELECT 'release' AS kind, y.available AS acc, up.price AS amt WHERE up.outcome IN ('rejected', 'not_sent')
                 UNION ALL SELECT 'sale', up.seller_account, up.payout WHERE up.outcome = 'accepted' AND up.payout > 0
                 UNION ALL SELECT 'margin', up.margin_account, up.price - up.payout WHERE up.outcome = 'accepted' AND up.price > up.payout) x)
  SELECT array_agg(CASE WHEN up.id IS NOT NULL AND w.i IS NOT NULL THEN 'ok' WHEN t.id IS NULL THEN 'unknown'
                        WHEN t.state IN ('accepted', 'rejected', 'not_sent') THEN t.state
                        WHEN t.fence <> q.fence THEN 'fenced' ELSE t.state END ORDER BY q.i)
    INTO out
    FROM unnest(p_id, p_fence) WITH ORDINALITY q(id, fence, i) LEFT JOIN w ON w.id = q.id AND w.i = q.i
    LEFT JOIN up ON up.id = q.id LEFT JOIN attempt t ON t.id = q.id;
  RETURN out;
END $$;

-- Sets what a cap is, under the exclusive advisory lock. A new cap, or one whose time zone changed,
-- starts from what the current period already sold: those attempts are counted and remember it.
CREATE FUNCTION set_cap(p_owner int, p_kind text, p_period text, p_tz text, p_lim bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE c cap; fresh bigint; begun timestamp; units bigint; counted uuid[];
BEGIN
  PERFORM pg_advisory_xact_lock(7001, 0);
  SELECT * INTO c FROM cap WHERE owner = p_owner AND kind = p_kind AND period = p_period;
  IF c.id IS NOT NULL AND c.tz = p_tz THEN
    UPDATE cap SET lim = p_lim WHERE id = c.id;
    UPDATE bucket SET lim = p_lim WHERE cap_id = c.id AND start >= bucket_start(p_period, p_tz);
    RETURN;
  END IF;
  PERFORM drop_cap(p_owner, p_kind, p_period);
  INSERT INTO cap (owner, kind, period, tz, lim) VALUES (p_owner, p_kind, p_period, p_tz, p_lim) RETURNING * INTO c;
  begun := bucket_start(p_period, p_tz);
  -- Locked, so that none of them is settled between being counted and remembering the new bucket.
  SELECT coalesce(array_agg(id), '{}'), coalesce(sum(CASE WHEN p_kind IN ('spend', 'credit') THEN price ELSE 1 END), 0)
    INTO counted, units
    FROM (SELECT id, price FROM attempt
          WHERE p_kind <> 'pings' AND p_owner IN (contract_id, buyer_id)
            AND (state IN ('intent', 'unconfirmed') OR (state = 'accepted' AND p_kind <> 'concurrent'))
            AND (p_period = 'total' OR date_trunc(p_period, created_at AT TIME ZONE p_tz) = begun)
          ORDER BY id FOR UPDATE) x;
  INSERT INTO bucket (cap_id, start, money, transient, lim, used)
  VALUES (c.id, begun, p_kind IN ('spend', 'credit'), p_kind = 'concurrent', p_lim, units) RETURNING id INTO fresh;
  UPDATE attempt SET buckets = array_append(buckets, fresh) WHERE id = ANY (counted);
END $$;

CREATE FUNCTION drop_cap(p_owner int, p_kind text, p_period text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7001, 0);
  PERFORM 1 FROM bucket b JOIN cap c ON c.id = b.cap_id
    WHERE c.owner = p_owner AND c.kind = p_kind AND c.period = p_period ORDER BY b.id FOR UPDATE OF b;
  -- What a settle would give back to a bucket that is gone, it simply does not find.
  DELETE FROM cap WHERE owner = p_owner AND kind = p_kind AND period = p_period;
END $$;

-- Books a deposit: external -> available, and more room in the credit bucket of a prepaid buyer.
CREATE FUNCTION deposit(p_ref uuid, p_buyer int, p_amount bigint, p_note text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE y buyer; outside int;
BEGIN
  IF p_amount < 0 THEN RAISE EXCEPTION 'a deposit is not negative'; END IF;
  PERFORM pg_advisory_xact_lock(7001, 0);
  SELECT * INTO STRICT y FROM buyer WHERE id = p_buyer;
  INSERT INTO account (kind, currency) VALUES ('external', y.currency) ON CONFLICT DO NOTHING;
  SELECT id INTO STRICT outside FROM account WHERE kind = 'external' AND owner = 0 AND currency = y.currency;
  IF p_amount > 0 THEN
    INSERT INTO transfer (ref, kind, debit, credit, amount, note) VALUES (p_ref, 'deposit', outside, y.available, p_amount, p_note);
  END IF;
  IF y.prepaid THEN
    UPDATE cap SET lim = lim + p_amount WHERE owner = p_buyer AND kind = 'credit';
    UPDATE bucket SET lim = lim + p_amount WHERE cap_id = (SELECT id FROM cap WHERE owner = p_buyer AND kind = 'credit');
  END IF;
END $$;

-- Ends an open lead and returns the final answer, which is another's if he was first; null while an
-- open or accepted attempt contradicts "unsold". An award holds the lead's row shared until its
-- attempt is visible: so the row is locked by one statement and looked at by the next.
CREATE FUNCTION close_lead(p_id uuid, p_owner int, p_state text, p_reason text, p_receipt bytea, p_answer bytea)
  RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM lead WHERE id = p_id FOR UPDATE;
  UPDATE lead SET state = p_state, reason = p_reason, receipt = p_receipt, answer = p_answer, closed_at = clock_timestamp()
  WHERE id = p_id AND state = 'open' AND (p_state = 'sold' OR (owner = p_owner AND NOT EXISTS (
    SELECT 1 FROM attempt WHERE lead_id = p_id AND state IN ('intent', 'unconfirmed', 'accepted'))));
  RETURN (SELECT answer FROM lead WHERE id = p_id);
END $$;

-- Stops an open lead that never had an attempt: its key and its ping are free again. False: it has one.
CREATE FUNCTION abandon_lead(p_id uuid, p_owner int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM lead WHERE id = p_id FOR UPDATE;
  UPDATE lead SET state = 'gone', reason = 'seller_gone', person_key = NULL, closed_at = clock_timestamp()
  WHERE id = p_id AND owner = p_owner AND state = 'open' AND NOT EXISTS (SELECT 1 FROM attempt WHERE lead_id = p_id);
  IF NOT FOUND THEN RETURN false; END IF;
  DELETE FROM claim WHERE lead_id = p_id;
  RETURN true;
END $$;

-- Every change of what workers hold in memory is told at once; a poll each second is the floor.
CREATE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('exchange_change', TG_TABLE_NAME);
  RETURN NULL;
END $$;
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON document FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON api_key FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
CREATE TRIGGER told AFTER UPDATE OF paused ON buyer FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
CREATE TRIGGER told AFTER UPDATE OF paused ON contract FOR EACH STATEMENT EXECUTE FUNCTION tell_change();
CREATE TRIGGER told AFTER UPDATE OF paused ON house FOR EACH STATEMENT EXECUTE FUNCTION tell_change();

-- Rates hold for all workers together: each leases a few units of the current second.
CREATE UNLOGGED TABLE rate_window (owner int PRIMARY KEY, second bigint NOT NULL, used int NOT NULL);
CREATE FUNCTION lease_rate(p_owner int, p_rate int, p_want int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE r rate_window; s bigint; n int;
BEGIN
  INSERT INTO rate_window (owner, second, used) VALUES (p_owner, 0, 0) ON CONFLICT DO NOTHING;
  SELECT * INTO r FROM rate_window WHERE owner = p_owner FOR UPDATE;
  s := greatest(r.second, floor(extract(epoch FROM clock_timestamp())));
  IF r.second < s THEN r.used := 0; END IF;
  n := greatest(0, least(p_want, p_rate - r.used));
  UPDATE rate_window SET second = s, used = r.used + n WHERE owner = p_owner;
  RETURN n;
END $$;

-- Takes up to p_want units of every cap on pings that binds a contract, all or none of a unit, and says
-- how many seconds they are good for: until the first of these periods ends.
CREATE FUNCTION lease_pings(p_contract int, p_want int, OUT granted int, OUT valid_s double precision) LANGUAGE plpgsql AS $$
DECLARE ids bigint[]; room bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7001, 0);
  PERFORM open_buckets(ARRAY[p_contract]);
  SELECT array_agg(id), min(lim - used), min(left_s) INTO ids, room, valid_s
    FROM (SELECT b.id, b.lim, b.used, CASE cap.period WHEN 'total' THEN 3600 ELSE
            extract(epoch FROM (b.start + ('1 ' || cap.period)::interval) AT TIME ZONE cap.tz - now()) END AS left_s
          FROM contract c JOIN cap ON cap.owner IN (c.id, c.buyer_id) AND cap.kind = 'pings'
          JOIN bucket b ON b.cap_id = cap.id AND b.start = bucket_start(cap.period, cap.tz)
          WHERE c.id = p_contract ORDER BY b.id FOR UPDATE OF b) x;
  granted := greatest(0, least(p_want, coalesce(room, 0)));
  valid_s := greatest(0, coalesce(valid_s, 0));
  UPDATE bucket SET used = used + granted WHERE id = ANY (ids) AND granted > 0;
END $$;
