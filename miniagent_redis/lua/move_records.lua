#!lua
-- include: _open _checked
-- Put the messages of a session where it is to be moved to, page by page, before it is there.
-- ARGV  5 operation: of this move, no other has it  6 replaces: that of an earlier move by the same
--       caller, whose session may be replaced; or ''  7 at: how many records there have to be; with 0
--       what an expired session left goes  8 hold_ms: for how long they are kept  9… records
-- Returns  nonce 'ok', now or by an earlier try
--          nonce 'exists', a session has the id, or had it within the last minute
--          nonce 'changed', others have put something there  |  those of _open
local moving, moved, deadline = unpack(redis.call('HMGET', KEYS[4], 'moving', 'moved', 'deadline'))
local at, length = tonumber(ARGV[7]), redis.call('LLEN', KEYS[2])
if moving == ARGV[5] and length >= at + #ARGV - 8 then
  return {nonce, 'ok'}
end
if at > 0 and (moving ~= ARGV[5] or length ~= at) then
  return {nonce, 'changed'}
elseif at == 0 then
  local ended_at = redis.call('HGET', KEYS[5], 'ended_at')
  local is_alive = exists and (tonumber(deadline) or 0) > now
  -- What is repeated for one that has ended must be told so, and not be done to this one.
  if is_alive and moved ~= ARGV[6] or tonumber(ended_at or 0) > now - 60000 then
    return {nonce, 'exists'}
  end
  redis.call('DEL', unpack(KEYS))
  redis.call('HSET', KEYS[4], 'moving', ARGV[5])
end
for i = 9, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
end
redis.call('PEXPIRE', KEYS[2], ARGV[8])
redis.call('PEXPIRE', KEYS[4], ARGV[8])
return {nonce, 'ok'}
