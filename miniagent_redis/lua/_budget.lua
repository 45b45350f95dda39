-- Begins the scripts on budgets, behind _hashes.
-- KEYS  for each budget a hash: the number of its period, what is spent in it; for each request
--       r:<id> '<amount> <until>' while it is reserved, and d:<id> '<until>' when it was settled
-- ARGV  1 nonce  2 now in ms, or ''  3 request_id  4 held_ms: for how long that is kept
local now, id, held = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the number of the day or of the month of the common calendar, in UTC; or 0.
-- Months by Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
local function period(every)
  local day = math.floor(now / 86400000)
  if every ~= 'month' then
    return every == 'day' and day or 0
  end
  local z, floor = day + 719468, math.floor
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local from_march = floor((5 * doy + 2) / 153)
  return (yoe + era * 400) * 12 + from_march + 3 -- January and February are months 13 and 14
end

-- Returns what is spent in this period, what others have reserved, and what is known of the request.
-- What was left by who died, and of earlier periods, is removed.
local function look(key, every, kept_ms)
  local found, kept = redis.call('HGETALL', key), {}
  for i = 1, #found, 2 do
    kept[found[i]] = found[i + 1]
  end
  local spent, reserved, current = tonumber(kept.spent) or 0, 0, period(every)
  if tonumber(kept.period) ~= current then
    spent = 0
    redis.call('HSET', key, 'period', current, 'spent', 0)
    redis.call('PEXPIRE', key, kept_ms) -- here too: nothing more is written if it is refused
  end
  for field, value in pairs(kept) do
    if string.find(field, '^[rd]:') and tonumber(string.match(value, '%d+$')) < now then
      redis.call('HDEL', key, field)
    elseif string.find(field, '^r:') and field ~= 'r:' .. id then
      reserved = reserved + tonumber(string.match(value, '^%d+'))
    end
  end
  return spent, reserved, kept['r:' .. id], kept['d:' .. id]
end
