-- Follows _ops.lua where an operation may not be done again, nor to another session of the same id.
-- Returns  nonce 'late' version       none was done, and this was long on its way: to be tried anew
--          nonce 'unsure' version     a repetition: nobody knows whether it was done
--          nonce 'uncertain' version  a repetition: perhaps the session was made since

-- Returns the answer to an operation that is not remembered if it may not be done: perhaps the session
-- was made after its first try, so another one was meant; or it may have been done and forgotten.
local function doubt(version)
  local made = is_late and tonumber(redis.call('HGET', KEYS[4], 'created_at') or 0) or 0
  if not is_late then
    return nil
  elseif made > sent and tried ~= '' then -- by the same millisecond, or so: nobody knows who was first
    return {nonce, 'uncertain', version}
  elseif made > sent or sent > now - age + 1000 or is_forgetting(version) then
    return {nonce, doubted, version}
  end
end
