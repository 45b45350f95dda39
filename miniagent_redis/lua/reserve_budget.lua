#!lua
-- include: _hashes _budget
-- Reserve what a request to a model may take of some budgets: of all, or of none.
-- KEYS  1 … a hash for each budget, see _budget
-- ARGV  1 nonce  2 now in ms, or ''  3 request_id  4 held_ms  5… numbers, for each key: limit,
--       every ('day', 'month' or ''), least (must be left), wanted (of which as much is reserved as
--       is left), kept_ms
-- Returns  nonce 'ok' now   reserved now, or earlier by the same id
--          nonce 'exceeded' i left now   of the first budget of which less than the least is left
--          those of _hashes
local amounts = {}
for i = 1, #KEYS do
  local limit, every = tonumber(ARGV[5 * i]), ARGV[5 * i + 1]
  local spent, reserved, known, done = look(KEYS[i], every, ARGV[5 * i + 4])
  if known or done then
    return {ARGV[1], 'ok', now}
  end
  local left = limit - spent - reserved
  if left < tonumber(ARGV[5 * i + 2]) then
    return {ARGV[1], 'exceeded', i, math.max(0, left), now}
  end
  amounts[i] = math.min(left, tonumber(ARGV[5 * i + 3]))
end
for i, amount in ipairs(amounts) do
  redis.call('HSET', KEYS[i], 'r:' .. id, string.format('%d %d', amount, now + held))
  redis.call('PEXPIRE', KEYS[i], ARGV[5 * i + 4])
end
return {ARGV[1], 'ok', now}
