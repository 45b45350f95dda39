-- Follows where a turn begins: its answer will need room too, and is paid for before that shows.

-- Returns how many bytes a thread that grows to `size` has to have room for: with an answer of 4 kB,
-- or of a 16th of all, unless it is too large without one; and with it in any case.
local function with_answer(size, max_bytes)
  max_bytes = tonumber(max_bytes)
  local both = size + math.floor(math.min(4096, max_bytes / 16))
  return size > max_bytes and size or both, both
end
