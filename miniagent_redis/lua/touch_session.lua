#!lua
-- include: _open _checked _session _sound _ops _doubt _slide
-- Resume a session: move its deadline, and its ttl when one is given.
-- ARGV  5 ttl_ms, a new one, or '' to keep it
-- Returns  nonce 'ok' version deadline now user  |  those of _open, _session, _sound and _doubt
local doubtful = doubt(0) -- twice does no harm, but to another session
if doubtful then
  return doubtful
end
if ARGV[5] ~= '' then
  ttl = tonumber(ARGV[5])
end
slide('ttl', format('%d', ttl))
if ARGV[5] ~= '' and deadline >= never then -- until now it had an end, perhaps
  for i = 1, 6 do
    expire(i, deadline)
  end
end
return {nonce, 'ok', version, deadline, now, owner}
