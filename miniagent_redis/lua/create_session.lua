#!lua
-- include: _open _checked _ops _epoch
-- Create a session. Leftovers of an expired one with the same id are removed.
-- ARGV  5 operation  6 document  7 ttl_ms, never: none  8 max_age_ms, or 0  9 agent_name
--       10 full_id: the session id if the keys have a digest of it, else ''
--       11 channel for the note, or '' for none  12 note
-- Returns  nonce 'ok' version deadline  |  nonce 'exists'  |  those of _open
--          late and unsure as in _doubt
local current = exists and tonumber(redis.call('HGET', KEYS[4], 'deadline'))
if current and current > now then
  if recall(ARGV[5]) then
    return {nonce, 'ok', 1, current}
  end
  if is_late and is_forgetting(tonumber(redis.call('HGET', KEYS[4], 'version')) or 64) then
    return {nonce, doubted, 0}
  end
  return {nonce, 'exists'}
end
local ended, ended_at = unpack(redis.call('HMGET', KEYS[5], 'ended', 'ended_at'))
if is_late and (now - since >= 60000 or tonumber(ended_at or 0) >= since) then -- perhaps this one
  return {nonce, doubted, 0}
end
redis.call('DEL', unpack(KEYS))
if tonumber(ended_at or 0) > now - 60000 then
  redis.call('HSET', KEYS[5], 'ended', ended, 'ended_at', ended_at) -- and not who owned that one
end
local max_age = tonumber(ARGV[8])
local max_end, deadline = 0, now + tonumber(ARGV[7])
if max_age > 0 then
  max_end = now + max_age
  deadline = math.min(deadline, max_end)
end
redis.call('SET', KEYS[1], ARGV[6])
remember(ARGV[5], 1, '')
redis.call('PUBLISH', KEYS[6], 'session_created') -- its event is told by read_events, see there
-- What every turn reads and writes comes first: Redis seeks a field of a small hash from its start.
redis.call('HSET', KEYS[4], 'deadline', format('%d', deadline), 'version', 1, 'epoch', new_epoch,
  'message_count', 0, 'bytes', 0, 'ttl', ARGV[7], 'max_end', format('%d', max_end), 'turns', 0,
  'input_tokens', 0, 'output_tokens', 0, 'tool_calls', 0, 'user', user, 'turn', '', 'holder', '',
  'lease', 0, 'cancel', '', 'events', 1, 'last_activity', format('%d', now),
  'created_at', format('%d', now), 'created_us', micros, 'schema', 1, 'agent', ARGV[9])
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[4], 'id', ARGV[10])
end
for i = 1, 6 do
  expire(i, deadline)
end
if ARGV[11] ~= '' then
  redis.pcall('PUBLISH', ARGV[11], ARGV[12]) -- where that is forbidden sessions are made all the same
end
return {nonce, 'ok', 1, deadline}
