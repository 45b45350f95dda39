#!lua
-- include: _open
-- Create a session. Leftovers of an expired one with the same id are removed.
-- ARGV  5 operation id  6 session document  7 ttl in ms  8 largest age in ms, or 0  9 agent name
-- Returns  nonce 'ok' version deadline  |  nonce 'exists'  |  those of _open
local current = exists and tonumber(redis.call('HGET', KEYS[4], 'deadline'))
if current and current > now then
  if recall(ARGV[5]) then
    return {nonce, 'ok', 1, current}
  end
  return {nonce, 'exists'}
end
redis.call('DEL', unpack(KEYS))
local ttl, max_age = tonumber(ARGV[7]), tonumber(ARGV[8])
local max_end, deadline = 0, now + ttl
if max_age > 0 then
  max_end = now + max_age
  deadline = math.min(deadline, max_end)
end
redis.call('SET', KEYS[1], ARGV[6])
redis.call('HSET', KEYS[4], 'schema', 1, 'user', user, 'agent', ARGV[9], 'version', 1,
  'epoch', new_epoch(ARGV[5]), 'message_count', 0, 'bytes', 0, 'turns', 0, 'input_tokens', 0,
  'output_tokens', 0, 'tool_calls', 0, 'created_at', now, 'last_activity', now, 'ttl', ttl,
  'max_end', max_end, 'deadline', deadline)
remember(ARGV[5], 1, '')
emit('session_created', '', '', 1)
expire_at(deadline)
return {nonce, 'ok', 1, deadline}
