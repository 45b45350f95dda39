-- Follows _ops.lua where an operation may not be done again, nor to another session of the same id.
-- Returns  nonce 'late' version       none was done, and this was long on its way: to be tried anew
--          nonce 'unsure' version     a repetition: nobody knows whether it was done
--          nonce 'uncertain' version  a repetition: perhaps the session was made since

-- Returns the answer to an operation that is not remembered if it may not be done: perhaps the session
-- was made after its first try, so another one was meant; or it may have been done and forgotten.
local function doubt(version)
  if not is_late then
    return nil
  end
  local made, behind = unpack(redis.call('HMGET', KEYS[4], 'created_at', 'created_us'))
  local is_newer = (made or 0) + (behind or 0) / 1000 > sent + part -- or perhaps, by a moment
  if is_newer and tried == '~' then
    return {nonce, 'uncertain', version}
  elseif is_newer or tried ~= '=' and sent > now - age + 1000 or is_forgetting(version) then
    return {nonce, doubted, version}
  end
end
