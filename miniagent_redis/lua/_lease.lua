-- Follows where the open turn may be another holder's.
local lease = tonumber(head[17]) or 0

-- Returns how many ms are left of its lease. One that ends later than it can was given before the
-- clock went back: it is made a whole one, so that of a holder that is gone ends, and one that is
-- there renews it in time.
local function lease_left()
  local whole = tonumber(redis.call('HGET', KEYS[4], 'lease_ms'))
  if whole and lease - now > whole then
    lease = now + whole
    redis.call('HSET', KEYS[4], 'lease', format('%d', lease))
  end
  return lease - now
end
