#!lua
-- include: _open _checked _session _sound _events _slide
-- Stage messages of the open turn and renew its lease.
-- ARGV  5 turn_id  6 holder  7 lease_ms  8 max_bytes of the thread
--       9 after: how many messages the turn had before these  10… messages
-- Returns  nonce 'ok' those that were there in place of these: a repetition, nothing is staged
--          the turn, if it is to be cancelled, or nil; ids of the events, if they are new
--          nonce 'superseded'  |  nonce 'toolarge' bytes  |  those of _open, _session and _sound
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  return {nonce, 'superseded'}
end
local staged = redis.call('LRANGE', KEYS[3], 0, -1)
if #staged < tonumber(ARGV[9]) then
  return {nonce, 'superseded'} -- what was staged before is gone: the turn cannot be whole any more
end
local there = #ARGV > 9 and redis.call('LRANGE', KEYS[3], ARGV[9], -1) or {}
local events = {}
if #there == 0 then
  local size = bytes
  for i = 1, #staged do
    size = size + #staged[i]
  end
  for i = 10, #ARGV do
    size = size + #ARGV[i]
  end
  if size > tonumber(ARGV[8]) then
    return {nonce, 'toolarge', size}
  end
  for i = 10, #ARGV do
    redis.call('RPUSH', KEYS[3], ARGV[i])
    emit('turn_step', ARGV[5], ARGV[i], version, i == #ARGV, #staged + i - 10)
    events[i - 9] = event
  end
end
slide('lease', format('%d', now + tonumber(ARGV[7])))
local cancel = redis.call('HGET', KEYS[4], 'cancel')
return {nonce, 'ok', there, cancel == open_turn and cancel, events}
