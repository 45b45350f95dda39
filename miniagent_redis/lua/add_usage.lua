#!lua
-- Add a batch of counts to totals, once.
-- KEYS  1 a string: number of the last batch of whoever sends it  2… a hash of counts for each total
-- ARGV  1 nonce  2 batch, the number of this one  3 remembered_ms: for how long that is known
--       4 kept_ms: for how long totals are kept unused
--       5 oldest, a day as 2026-01-31: fields of earlier ones, which begin with them, go
--       6… totals, for each its counts: name amount name …
-- Returns  nonce 'ok'   now, or earlier with the same number  |  nonce 'wrongtype' key type
for i = 1, #KEYS do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= (i == 1 and 'string' or 'hash') and found ~= 'none' then
    return {ARGV[1], 'wrongtype', KEYS[i], found}
  end
end
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[2]) then
  return {ARGV[1], 'ok'}
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
for i = 2, #KEYS do
  local begins_day = false
  for name, amount in string.gmatch(ARGV[i + 4], '(%S+) (%d+)') do
    -- What is no number must not stop the others.
    local sum = redis.pcall('HINCRBY', KEYS[i], name, amount)
    begins_day = begins_day or (sum == tonumber(amount) and string.find(name, '^%d') ~= nil)
  end
  local all = begins_day and redis.call('HGETALL', KEYS[i]) or {}
  for n = 1, #all, 2 do
    if string.find(all[n], '^%d') and all[n] < ARGV[5] then redis.call('HDEL', KEYS[i], all[n]) end
  end
  redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return {ARGV[1], 'ok'}
