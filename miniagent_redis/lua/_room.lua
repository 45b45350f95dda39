-- Follows where a turn begins: its answer will need room too, and is paid for before that shows.

-- Returns how many bytes a thread that grows to `size` has to have room for: with an answer of 4 kB,
-- or of a 16th of all, unless it is too large without one.
local function with_answer(size, max_bytes)
  max_bytes = tonumber(max_bytes)
  return size > max_bytes and size or size + math.floor(math.min(4096, max_bytes / 16))
end
