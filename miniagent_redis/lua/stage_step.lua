#!lua
-- include: _open _session _sound
-- Stage messages of the open turn and renew its lease.
-- ARGV  5 turn id  6 holder  7 lease in ms  8 largest thread in bytes
--       9 how many messages the turn had before these  10… messages
-- Returns  nonce 'ok' those that were there in place of these: a repetition, nothing is staged
--          the turn that is to be cancelled, or nil
--          nonce 'superseded'  |  nonce 'toolarge' bytes  |  those of _open, _session and _sound
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  return {nonce, 'superseded'}
end
local staged = redis.call('LRANGE', KEYS[3], 0, -1)
if #staged < tonumber(ARGV[9]) then
  return {nonce, 'superseded'} -- what was staged before is gone: the turn cannot be whole any more
end
local there = #ARGV > 9 and redis.call('LRANGE', KEYS[3], ARGV[9], -1) or {}
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
  push(KEYS[3], ARGV, 10, #ARGV)
  for i = 10, #ARGV do
    emit('turn_step', ARGV[5], ARGV[i], version, true)
  end
end
slide('lease', now + tonumber(ARGV[7]))
return {nonce, 'ok', there, redis.call('HGET', KEYS[4], 'cancel')}
