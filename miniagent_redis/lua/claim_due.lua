#!lua flags=allow-oom
-- Claim sessions that are due: for a while nobody else is given them. A claim that is not finished
-- runs out, and the session is due again. Its score ends in .5, as no deadline does.
-- KEYS  1 a shard of all sessions by deadline
-- ARGV  1 nonce  2 now in ms, or ''  3 hold_ms: how long the claim holds  4 most sessions
-- Returns  nonce 'ok' now claim, the new score  due, each a session id and the score it had
--          nonce 'wrongtype' key type
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'zset' and found ~= 'none' then
  return {ARGV[1], 'wrongtype', KEYS[1], found}
end
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local claim = string.format('%.1f', now + tonumber(ARGV[3]) + 0.5)
local due = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[4])) do
  due[#due + 1] = {id, redis.call('ZSCORE', KEYS[1], id)}
  redis.call('ZADD', KEYS[1], 'XX', claim, id)
end
return {ARGV[1], 'ok', now, claim, due}
