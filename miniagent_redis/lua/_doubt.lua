-- Follows _ops.lua where an operation may not be done again, nor to another session of the same id.
-- Returns  nonce 'late' version       a first try that was long on its way: to be tried anew
--          nonce 'unsure' version     a repetition: nobody knows whether it was done
--          nonce 'uncertain' version  a repetition: perhaps the session was made since
--          nonce 'notfound'           a repetition: the session was made since

-- Returns the answer to an operation that is not remembered if it may not be done: the session was
-- made after it was sent, so another one was meant; or it may have been done and forgotten.
local function doubt(version)
  local made = is_late and tonumber(redis.call('HGET', KEYS[4], 'created_at') or 0) or 0
  if not is_late then
    return nil
  elseif age > 0 and made > now - age + 1 and made <= now then -- else the clock went back
    return {nonce, 'notfound'}
  elseif age > 0 and made > sent then -- by the same millisecond, or so: nobody knows who was first
    return {nonce, 'uncertain', version}
  elseif made > sent or sent > now - age + 1000 or is_forgetting(version) then
    return {nonce, age > 0 and 'unsure' or 'late', version}
  end
end
