#!lua
-- include: _open _session _sound
-- Resume a session: move its deadline, and its ttl when one is given.
-- ARGV  5 new ttl in ms, or '' to keep it
-- Returns  nonce 'ok' version deadline user  |  those of _open, _session and _sound
if ARGV[5] ~= '' then
  head[10] = ARGV[5]
end
slide('ttl', head[10])
return {nonce, 'ok', version, deadline, head[1]}
