-- Follows where the thread is read. Messages at its head may have been let go of: what is there are
-- the last ones of `count`, so positions are told to Redis from the end, whatever the head is.

-- Returns the position of the first record, or false if a thread of this length is not what the
-- counters tell of; how many records there have to be. Only a thread that was trimmed is shorter.
local function first_of(length)
  local trimmed = length ~= count and tonumber(redis.call('HGET', KEYS[4], 'head') or 0) or 0
  return count - trimmed == length and trimmed, count - trimmed
end

-- Returns so many records from a position on, in front of another one, by default the end.
local function records_of(from, most, upto)
  upto = math.min(from + most, upto or count)
  return upto > from and redis.call('LRANGE', KEYS[2], from - count, upto - count - 1) or {}
end
