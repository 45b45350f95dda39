#!lua
-- include: _open _checked _session _sound _ops _doubt _slide
-- Replace a session's document.
-- ARGV  5 operation  6 document  7 created_at of the session that is meant, or ''
--       8 expected: the version that it must have, or '' for any
-- Returns  nonce 'ok' version deadline now user  |  nonce 'changed' version, another one
--          those of _open, _session, _sound and _doubt
if not recall(ARGV[5]) then
  if ARGV[7] ~= '' and redis.call('HGET', KEYS[4], 'created_at') ~= ARGV[7] then
    return {nonce, 'notfound'} -- it was made anew since its document was read
  end
  local doubtful = doubt(version)
  if doubtful then
    return doubtful
  end
  if ARGV[8] ~= '' and tonumber(ARGV[8]) ~= version then
    return {nonce, 'changed', version}
  end
  version = version + 1
  redis.call('SET', KEYS[1], ARGV[6])
  remember(ARGV[5], version, '')
  slide('version', version)
end
return {nonce, 'ok', version, deadline, now, owner}
