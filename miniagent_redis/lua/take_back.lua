#!lua flags=allow-oom
-- include: _hashes
-- Take a request back that was counted and came to nothing; once, and if it is one of the last.
-- KEYS  1 … for each limit on requests its hash, as in rate_limit.lua
-- ARGV  1 nonce  2 request_id  3 counted_at in ms  4… windows, for each key, in ms
-- Returns  nonce 'ok'  |  those of _hashes
local id, at = ARGV[2], tonumber(ARGV[3])
for i = 1, #KEYS do
  local window = tonumber(ARGV[i + 3])
  local start, ids = unpack(redis.call('HMGET', KEYS[i], 'start', 'ids'))
  local first, last = string.find(ids or '', id, 1, true)
  local passed = (tonumber(start) or 0) - (at - at % window)
  local count = passed == 0 and 'current' or passed == window and 'previous'
  if first and count and tonumber(redis.call('HGET', KEYS[i], count)) > 0 then
    redis.call('HINCRBY', KEYS[i], count, -1)
    redis.call('HSET', KEYS[i], 'ids', string.sub(ids, 1, first - 2) .. string.sub(ids, last + 1))
  end
end
return {ARGV[1], 'ok'}
