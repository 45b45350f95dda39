#!lua
-- include: _open _checked _session _sound _ops _doubt _slide
-- Replace a session's document.
-- ARGV  5 operation  6 document  7 created_at of the session that is meant, or ''
--       8 expected: the version that it must have, or '' for any
--       9 titled: which operation gave its title, as it was when its document was read
-- Returns  nonce 'ok' version deadline now user  |  nonce 'changed' version, another one
--          nonce 'retitled', read it again
--          those of _open, _session, _sound and _doubt
if not recall(ARGV[5]) then
  local made, titled = unpack(redis.call('HMGET', KEYS[4], 'created_at', 'titled'))
  if ARGV[7] ~= '' and made ~= ARGV[7] then
    return {nonce, 'notfound'} -- it was made anew since its document was read
  end
  local doubtful = doubt(version)
  if doubtful then
    return doubtful
  end
  if ARGV[8] ~= '' and tonumber(ARGV[8]) ~= version then
    return {nonce, 'changed', version}
  end
  if (titled or '') ~= ARGV[9] then
    return {nonce, 'retitled'}
  end
  version = version + 1
  redis.call('SET', KEYS[1], ARGV[6])
  remember(ARGV[5], version, '')
  slide('version', version)
end
return {nonce, 'ok', version, deadline, now, owner}
