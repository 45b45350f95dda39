#!lua flags=no-writes
-- Read what the turn of a session waits for, if it does: for lists of them.
-- KEYS  1 session  2 thread  3 turn  4 metadata  5 ops  6 events  7 queue
-- ARGV  1 nonce  2 now in ms, or '' for the server's clock
-- Returns  nonce 'ok' turn, what it waits for as in park_turn, its messages, owner
--          nonce 'none', it does not wait, or is of another type
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or redis.call('TYPE', KEYS[4]).ok ~= 'hash'
  or redis.call('TYPE', KEYS[3]).ok ~= 'list' then
  return {ARGV[1], 'none'}
end
local fields = redis.call('HMGET', KEYS[4], 'deadline', 'turn', 'waits', 'user')
local turn = fields[2] or ''
local of, waits = string.match(fields[3] or '', '^(%S+) %S+( .*)$')
if (tonumber(fields[1]) or 0) <= now or turn == '' or of ~= turn then
  return {ARGV[1], 'none'}
end
return {ARGV[1], 'ok', turn, waits, redis.call('LRANGE', KEYS[3], 0, -1), fields[4] or ''}
