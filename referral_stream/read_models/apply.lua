-- Applies one batch of one partition, or nothing: see writing.py, which makes the operations.
--
-- ARGV: root of the keys, TOPIC|PARTITION, the offset where the writer believes to be ("" at the beginning of a topic:
-- nothing is applied yet), the offset behind the batch, the operations (MessagePack), the limits (MessagePack), the
-- deployment's now and the real now (epoch ms); behind these the bytes, which this MessagePack does not know: where an
-- operation has some, it has the number of the argument, as a list of one.
-- Returns {"applied"}, {"form"} where another form is there, or a reset is under way, {"at", offset} where something else is applied than the writer believes ("" for nothing), or
-- {"changed", customer} where a record is not the one that the figures were computed from.

local root, place, expected, after = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local operations, limits = cmsgpack.unpack(ARGV[5]), cmsgpack.unpack(ARGV[6])
local now, real_now = tonumber(ARGV[7]), ARGV[8]
local call = redis.call

for _, op in ipairs(operations) do
  for index, value in ipairs(op) do
    if type(value) == "table" and type(value[1]) == "number" then
      op[index] = ARGV[value[1]]
    end
  end
end

if (tonumber(call("HGET", root .. "meta", "form")) or limits.form) ~= limits.form then
  return {"form"}
end
local positions = root .. "positions"
local stored = call("HGET", positions, place) or ""
if stored ~= expected then
  return {"at", stored}
end
for _, op in ipairs(operations) do
  if op[1] == "record" or op[1] == "unrecord" or op[1] == "forget" then
    if string.sub(call("HGET", root .. "customer:" .. op[2], "record") or "", 1, 13) ~= op[3] then
      return {"changed", op[2]}
    end
  end
end

local ttl = limits.ttl

-- The first write: where the server's memory is full it fails here, before anything is done in part.
call("HSET", root .. "meta", "form", limits.form, "applied_at", real_now)

local function hash_of(customer)
  return redis.sha1hex(customer)
end

local function is_gone(customer, at)
  local gone = call("ZSCORE", root .. "gone", hash_of(customer))
  return gone and tonumber(gone) >= at
end

-- Whose id this is now.
local function survivor_of(customer)
  for _ = 1, 8 do
    local further = call("GET", root .. "alias:" .. customer)
    if not further then
      break
    end
    customer = further
  end
  return customer
end

-- Whether the customer's newest state, which may have been read before, says that this is over.
local function is_over(kind, id, customer, at)
  local state, alive = unpack(call("HMGET", root .. "customer:" .. survivor_of(customer), "state", "alive"))
  return state and tonumber(string.sub(state, 1, 13)) >= at and not string.find(alive or "", " " .. kind .. ":" .. id .. " ", 1, true)
end

local function count(deltas)
  for i = 1, #deltas, 3 do
    local key = root .. "figures" .. (deltas[i] == "" and "" or ":" .. deltas[i])
    if call("HINCRBY", key, deltas[i + 1], deltas[i + 2]) == 0 then
      call("HDEL", key, deltas[i + 1])
    elseif deltas[i] ~= "" then
      call("EXPIRE", key, ttl)
    end
  end
end

local function hold(id, gates, by)
  for gate in string.gmatch(gates, "%S+") do
    if call("HINCRBY", root .. "holding", gate, by) == 0 then
      call("HDEL", root .. "holding", gate)
    end
  end
end

local drop

function drop(kind, id)
  if call("ZREM", root .. "due:" .. kind, id) == 1 then
    call("HDEL", root .. "due:" .. kind .. ":rows", id)
  end
  if kind == "asks" then
    local gates = call("HGET", root .. "due:asks:gates", id)
    if gates then
      hold(id, gates, -1)
      call("HDEL", root .. "due:asks:gates", id)
    end
    drop("approvals", id)
  end
end

local function put(kind, id, at, due, row, customer)
  call("ZADD", root .. "due:" .. kind, due, id)
  call("HSET", root .. "due:" .. kind .. ":rows", id, row)
  local mine = root .. "mine:" .. survivor_of(customer)
  call("ZADD", mine, at, kind .. ":" .. id)
  call("EXPIRE", mine, ttl)
end

local function finish(kind, id, customer)
  drop(kind, id)
  call("ZREM", root .. "mine:" .. survivor_of(customer), kind .. ":" .. id)
end

-- End whatever the customer's state says nothing of, up to its instant.
local function end_what_is_over(customer)
  local state, alive = unpack(call("HMGET", root .. "customer:" .. customer, "state", "alive"))
  if not state then
    return
  end
  for _, what in ipairs(call("ZRANGEBYSCORE", root .. "mine:" .. customer, "-inf", string.sub(state, 1, 13))) do
    local kind, id = string.match(what, "^(%a+):(.*)$")
    local as = kind == "approvals" and "asks" or kind
    if not string.find(alive or "", " " .. as .. ":" .. id .. " ", 1, true) then
      finish(kind, id, customer)
    end
  end
end

local function unlog(id, row)
  local fields = cmsgpack.unpack(row) -- as views.DecisionRow has them
  local customer, account, trigger, outcome, gates = fields[4], fields[5], fields[6], fields[7], fields[8]
  call("ZREM", root .. "log", id)
  call("HDEL", root .. "log:rows", id)
  call("ZREM", root .. "log:by outcome:" .. outcome, id)
  call("ZREM", root .. "log:by trigger:" .. trigger, id)
  call("ZREM", root .. "log:by customer:" .. customer, id)
  if account then
    call("ZREM", root .. "log:by account:" .. account, id)
  end
  for _, gate in ipairs(gates) do
    call("ZREM", root .. "log:by gate:" .. gate, id)
  end
end

local apply = {}

function apply.decision(_, customer, id, at, body, row, outcome, trigger, gates, account, is_ask)
  if call("HEXISTS", root .. "log:rows", id) == 1 then
    return
  end
  if at > now - limits.hours * 3600000 then -- counts name nobody: an erasure leaves them
    local hour = root .. "hour:" .. string.format("%d", math.floor(at / 3600000))
    call("HINCRBY", hour, "outcome:" .. outcome, 1)
    if is_ask then
      call("HINCRBY", hour, "asks:" .. trigger, 1)
    end
    for _, gate in ipairs(gates) do
      call("HINCRBY", hour, "gate:" .. gate, 1)
    end
    call("EXPIRE", hour, (limits.hours + 24) * 3600)
  end
  if is_gone(customer, at) then
    return
  end
  local key = root .. "customer:" .. customer
  call("HSET", key, "d" .. call("HINCRBY", key, "d", 1) % limits.decisions, body)
  call("EXPIRE", key, ttl)
  call("ZADD", root .. "log", at, id)
  call("HSET", root .. "log:rows", id, row)
  call("ZADD", root .. "log:by outcome:" .. outcome, at, id)
  call("ZADD", root .. "log:by trigger:" .. trigger, at, id)
  call("ZADD", root .. "log:by customer:" .. customer, at, id)
  if account ~= "" then
    call("ZADD", root .. "log:by account:" .. account, at, id)
  end
  for _, gate in ipairs(gates) do
    call("ZADD", root .. "log:by gate:" .. gate, at, id)
  end
end

function apply.live(_, customer, id, at, due, row, gates, needs_approval)
  if is_gone(customer, at) or is_over("asks", id, customer, at) then
    return
  end
  drop("asks", id)
  put("asks", id, at, due, row, customer)
  call("HSET", root .. "due:asks:gates", id, gates)
  hold(id, gates, 1)
  if needs_approval then
    put("approvals", id, at, due, row, customer)
  end
end

function apply.put(_, customer, kind, id, at, due, row)
  if not is_gone(customer, at) and not is_over(kind, id, customer, at) then
    put(kind, id, at, due, row, customer)
  end
end

function apply.finish(_, customer, kind, id)
  finish(kind, id, customer)
  if kind == "asks" then
    finish("approvals", id, customer)
  end
end

function apply.after(_, customer, at, body)
  if not is_gone(customer, at) then
    local key = root .. "after:" .. customer -- from two topics, which are not in step
    call("ZADD", key, at, body)
    call("ZREMRANGEBYRANK", key, 0, -limits.after - 1)
    call("EXPIRE", key, ttl)
  end
end

function apply.record(_, customer, _, at, body, deltas)
  if is_gone(customer, at) then
    return
  end
  local key = root .. "customer:" .. customer
  call("HSET", key, "record", string.format("%013d", at) .. body)
  call("EXPIRE", key, ttl)
  call("ZADD", root .. "recorded", at, customer)
  call("ZREMRANGEBYRANK", root .. "recorded", 0, -limits.recorded - 1)
  count(deltas)
end

function apply.unrecord(_, customer, _, deltas)
  call("ZREM", root .. "recorded", customer)
  call("HDEL", root .. "customer:" .. customer, "record")
  count(deltas)
end

function apply.state(_, customer, at, body, alive)
  if is_gone(customer, at) then
    return
  end
  local key = root .. "customer:" .. customer
  call("HSET", key, "state", string.format("%013d", at) .. body)
  if alive == "" then
    call("HDEL", key, "alive")
  else
    call("HSET", key, "alive", alive)
  end
  call("EXPIRE", key, ttl)
  end_what_is_over(customer)
end

local forget

function forget(customer, at)
  call("ZADD", root .. "gone", "GT", string.format("%d", at), hash_of(customer))
  local log = root .. "log:by customer:" .. customer
  for _, id in ipairs(call("ZRANGE", log, 0, -1)) do
    local row = call("HGET", root .. "log:rows", id)
    if row then
      unlog(id, row)
    end
  end
  local mine = root .. "mine:" .. customer
  for _, what in ipairs(call("ZRANGE", mine, 0, -1)) do
    local kind, id = string.match(what, "^(%a+):(.*)$")
    if kind == "id" then
      forget(id, at)
    else
      drop(kind, id)
    end
  end
  -- Of an id that was merged away, the record goes by its own tombstone: the figures are subtracted with it.
  call("HDEL", root .. "customer:" .. customer, "state", "alive", "d")
  for n = 0, limits.decisions - 1 do
    call("HDEL", root .. "customer:" .. customer, "d" .. n)
  end
  call("DEL", root .. "after:" .. customer, root .. "alias:" .. customer, mine, log)
end

function apply.forget(_, customer, _, deltas, at)
  forget(customer, at)
  call("HDEL", root .. "customer:" .. customer, "record")
  call("ZREM", root .. "recorded", customer)
  count(deltas)
end

function apply.alias(_, customer, survivor)
  local gone = call("ZSCORE", root .. "gone", hash_of(survivor))
  if gone then
    forget(customer, tonumber(gone))
    return
  end
  local mine, theirs = root .. "mine:" .. customer, root .. "mine:" .. survivor
  call("SET", root .. "alias:" .. customer, survivor, "EX", ttl)
  call("HDEL", root .. "customer:" .. customer, "state", "alive")
  if call("EXISTS", mine) == 1 then
    call("ZUNIONSTORE", theirs, 2, theirs, mine, "AGGREGATE", "MAX")
    call("DEL", mine)
  end
  call("ZADD", theirs, "+inf", "id:" .. customer)
  call("EXPIRE", theirs, ttl)
  end_what_is_over(survivor)
end

function apply.control(_, switch, at, row)
  local known = call("HGET", root .. "controls", switch)
  if not known or cmsgpack.unpack(known)[1] <= at then
    call("HSET", root .. "controls", switch, row)
  end
  call("LPUSH", root .. "audit", row)
  call("LTRIM", root .. "audit", 0, limits.audit - 1)
end

for _, op in ipairs(operations) do
  apply[op[1]](unpack(op))
end

local spare = call("ZCARD", root .. "log") - limits.log
if spare > 0 then
  for _, id in ipairs(call("ZRANGE", root .. "log", 0, spare - 1)) do
    local row = call("HGET", root .. "log:rows", id)
    if row then
      unlog(id, row)
    else
      call("ZREM", root .. "log", id)
    end
  end
end
-- What nobody will ever close any more: follow-ups and rewards end by themselves, and asks by a decision, a month ago.
for _, kind in ipairs({"asks", "approvals", "followups", "rewards"}) do
  local lapsed = now - (limits.lapses[kind] or 0)
  for _, id in ipairs(call("ZRANGEBYSCORE", root .. "due:" .. kind, "-inf", "(" .. string.format("%d", lapsed),
      "LIMIT", 0, limits.sweep)) do
    drop(kind, id)
  end
end
call("ZREMRANGEBYSCORE", root .. "gone", "-inf", string.format("%d", now - ttl * 2000))
call("HSET", positions, place, after)
return {"applied"}
