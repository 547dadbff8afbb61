-- Sold leads that buyers give back. A sale never changes: an approved return is new transfers the other way.
ALTER TABLE transfer DROP CONSTRAINT transfer_kind_check;
ALTER TABLE transfer ADD CONSTRAINT transfer_kind_check
  CHECK (kind IN ('hold', 'release', 'sale', 'margin', 'deposit', 'return', 'return_margin'));

CREATE TABLE sale_return (
  id uuid PRIMARY KEY,
  attempt_id uuid NOT NULL UNIQUE,            -- a sale is returned once, or not at all
  lead_id uuid NOT NULL,
  contract_id int NOT NULL,
  buyer_id int NOT NULL,
  reason text NOT NULL,
  note text NOT NULL,                         -- the buyer's words
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'denied')),
  reverse_payout boolean NOT NULL,            -- as the policy was when it was asked for; approved: as it was done
  restore_cap boolean NOT NULL,
  buckets bigint[] NOT NULL DEFAULT '{}',     -- exactly what the approval gave back
  requested_at timestamptz NOT NULL DEFAULT now(),
  requested_by text NOT NULL,
  decided_at timestamptz,
  decided_by text,
  decision_note text,
  CHECK ((status = 'pending') = (decided_at IS NULL)));
CREATE INDEX sale_return_lead ON sale_return (lead_id);
CREATE INDEX sale_return_contract ON sale_return (contract_id, requested_at);
CREATE INDEX sale_return_buyer ON sale_return (buyer_id, id);
CREATE INDEX sale_return_pending ON sale_return (id) WHERE status = 'pending';
CREATE INDEX sale_return_age ON sale_return (requested_at);

-- Books an approval and says how the return stands: ok | approved | denied (it was decided before) |
-- unknown. The money goes back to the buyer; a prepaid one may spend it again. What the policy said,
-- p_reverse and p_restore may override: null leaves it.
-- Reversed: from the seller what he got, and from the house its margin; else all of it from the house.
-- Restored: the caps on sales and on spending whose period still runs get their unit back.
-- Lock order as everywhere: (7001, 0) shared, buckets by id, the attempt, then the rest.
CREATE FUNCTION approve_return(p_id uuid, p_reverse boolean, p_restore boolean, p_by text, p_note text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE r sale_return; a attempt; y buyer; back bigint[];
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7001, 0);         -- no cap changes: the attempt's buckets are what they are
  SELECT * INTO r FROM sale_return WHERE id = p_id;
  IF NOT FOUND THEN RETURN 'unknown'; END IF;
  IF r.status <> 'pending' THEN RETURN r.status; END IF;
  r.reverse_payout := coalesce(p_reverse, r.reverse_payout);
  r.restore_cap := coalesce(p_restore, r.restore_cap);
  SELECT coalesce(array_agg(id), '{}') INTO back
    FROM (SELECT b.id FROM attempt t JOIN bucket b ON b.id = ANY (t.buckets) JOIN cap ON cap.id = b.cap_id
          WHERE t.id = r.attempt_id AND (cap.kind = 'credit'
            OR (r.restore_cap AND cap.kind IN ('sales', 'spend') AND b.start = bucket_start(cap.period, cap.tz)))
          ORDER BY b.id FOR UPDATE OF b) x;
  SELECT * INTO STRICT a FROM attempt WHERE id = r.attempt_id FOR UPDATE;
  UPDATE sale_return SET status = 'approved', reverse_payout = r.reverse_payout, restore_cap = r.restore_cap, buckets = back,
    decided_at = clock_timestamp(), decided_by = p_by, decision_note = p_note
  WHERE id = p_id AND status = 'pending';
  IF NOT FOUND THEN                                      -- somebody else decided while we waited
    RETURN (SELECT status FROM sale_return WHERE id = p_id);
  END IF;
  SELECT * INTO STRICT y FROM buyer WHERE id = a.buyer_id;
  UPDATE bucket SET used = used - CASE WHEN money THEN a.price ELSE 1 END WHERE id = ANY (back);
  INSERT INTO transfer (ref, kind, debit, credit, amount)
    SELECT a.id, x.kind, x.debit, y.available, x.amount FROM (VALUES
      ('return', CASE WHEN r.reverse_payout THEN a.seller_account ELSE a.margin_account END,
       CASE WHEN r.reverse_payout THEN a.payout ELSE a.price END),
      ('return_margin', a.margin_account, CASE WHEN r.reverse_payout THEN a.price - a.payout ELSE 0 END)) x (kind, debit, amount)
    WHERE x.amount > 0;
  RETURN 'ok';
END $$;

-- As before; but what an approved return has given back is not counted again.
CREATE OR REPLACE FUNCTION set_cap(p_owner int, p_kind text, p_period text, p_tz text, p_lim bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE c cap; fresh bigint; begun timestamp; units bigint; counted uuid[]; pinged bigint := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(7001, 0);
  SELECT * INTO c FROM cap WHERE owner = p_owner AND kind = p_kind AND period = p_period;
  IF c.id IS NOT NULL AND c.tz = p_tz THEN
    UPDATE cap SET lim = p_lim WHERE id = c.id;
    UPDATE bucket SET lim = p_lim WHERE cap_id = c.id AND start >= bucket_start(p_period, p_tz);
    RETURN;
  END IF;
  IF p_kind = 'pings' THEN  -- nobody remembers them one by one: what the period had used goes on counting
    SELECT coalesce(max(used), 0) INTO pinged FROM bucket WHERE cap_id = c.id AND start = bucket_start(p_period, c.tz);
  END IF;
  PERFORM drop_cap(p_owner, p_kind, p_period);
  INSERT INTO cap (owner, kind, period, tz, lim) VALUES (p_owner, p_kind, p_period, p_tz, p_lim) RETURNING * INTO c;
  begun := bucket_start(p_period, p_tz);
  -- Locked, so that none of them is settled between being counted and remembering the new bucket.
  SELECT coalesce(array_agg(id), '{}'), coalesce(sum(CASE WHEN p_kind IN ('spend', 'credit') THEN price ELSE 1 END), 0)
    INTO counted, units
    FROM (SELECT id, price FROM attempt
          WHERE p_kind <> 'pings' AND contract_id IN (SELECT k.id FROM contract k WHERE p_owner IN (k.id, k.buyer_id))
            -- A day to spare: what is older than the period is not even looked at.
            AND (p_period = 'total' OR created_at > begun AT TIME ZONE p_tz - interval '1 day')
            AND (state IN ('intent', 'unconfirmed') OR (state = 'accepted' AND p_kind <> 'concurrent'))
            AND (p_period = 'total' OR date_trunc(p_period, created_at AT TIME ZONE p_tz) = begun)
            AND NOT EXISTS (SELECT 1 FROM sale_return r WHERE r.attempt_id = attempt.id AND r.status = 'approved'
                            AND (p_kind = 'credit' OR (r.restore_cap AND p_kind IN ('sales', 'spend'))))
          ORDER BY id FOR UPDATE) x;
  INSERT INTO bucket (cap_id, start, money, transient, lim, used)
  VALUES (c.id, begun, p_kind IN ('spend', 'credit'), p_kind = 'concurrent', p_lim, units + pinged) RETURNING id INTO fresh;
  UPDATE attempt SET buckets = array_append(buckets, fresh) WHERE id = ANY (counted);
END $$;
