-- Follows where a session may have been changed since all of it was read.

-- Returns a text that every change of a session changes: its metadata, which each script that writes
-- leaves another, and how much its open turn has staged. No digest, which fakeredis does not have.
local function seal()
  local all, fields = redis.call('HGETALL', KEYS[4]), {}
  for i = 1, #all, 2 do
    fields[#fields + 1] = all[i] .. ' ' .. all[i + 1]
  end
  table.sort(fields) -- a server that was loaded anew has another order
  fields[#fields + 1] = redis.call('LLEN', KEYS[3])
  return table.concat(fields, '\n')
end
