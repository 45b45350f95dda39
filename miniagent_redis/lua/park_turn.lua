#!lua
-- include: _open _checked _session _sound _events _records _slide
-- Park the open turn: it has no holder until others have answered the calls that it waits for.
-- ARGV  5 turn_id  6 holder  7 staged: how many messages the holder knows to be
--       8 waiting_ms: for how long the session lives at the least  9 waits: for each call 'a', for
--       approval, 'r', for a result, or 'i', for input, and its digest, with a space in front
--       10 told: for watchers, a record
-- Returns  nonce 'ok' version deadline now user, id of the event or ''   now, or by an earlier try
--          nonce 'superseded'  |  nonce 'cancelled', and not parked  |  those of _open, _session and _sound
local parked = ARGV[5] .. ' ' .. ARGV[6]
if open_turn and string.sub(head[19] or '', 1, #parked) == parked then
  return {nonce, 'ok', version, deadline, now, owner, ''}
elseif open_turn ~= ARGV[5] or holder ~= ARGV[6] or redis.call('LLEN', KEYS[3]) ~= tonumber(ARGV[7]) then
  return {nonce, 'superseded'}
elseif redis.call('HGET', KEYS[4], 'cancel') == open_turn then
  return {nonce, 'cancelled'}
end
local since = redis.call('HGET', KEYS[4], 'told_since')
since = emit_record('turn_waiting', ARGV[5], ARGV[10], since, true)
ttl = math.max(ttl, tonumber(ARGV[8]))
-- Its id is known to who answers, and who lists it: as if a caller had given it.
slide('told_since', since, 'holder', '', 'lease', '0', 'waits', parked .. ARGV[9], 'named', '=')
return {nonce, 'ok', version, deadline, now, owner, event}
