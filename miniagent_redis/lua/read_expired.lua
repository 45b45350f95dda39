#!lua flags=no-writes
-- include: _open _checked
-- Read what an expired session left: its counters and a piece of its thread.
-- ARGV  5 start of the piece  6 most messages to return
-- Returns  nonce 'ok' deadline values messages  |  nonce 'alive' deadline
--          nonce 'gone', there are no counters  |  those of _open
local deadline = tonumber(redis.call('HGET', KEYS[4], 'deadline'))
if not deadline then
  return {nonce, 'gone'}
end
if deadline > now then
  return {nonce, 'alive', deadline}
end
local start, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local messages = most > 0 and redis.call('LRANGE', KEYS[2], start, start + most - 1) or {}
return {nonce, 'ok', deadline,
  redis.call('HMGET', KEYS[4], 'user', 'agent', 'created_at', 'message_count'), messages}
