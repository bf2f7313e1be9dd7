-- The ledger's rules as one atomic script: the same as referral_stream/core/ledger/, where they are explained.
--
-- KEYS[1]  the ready key, PREFIX:{ledger}:ready; every other key starts with PREFIX:{ledger}: and is derived here, so all
--          of them share one hash slot.
-- ARGV[1]  the generation to build, or '' for the one that is live
-- ARGV[2]  the limits, a JSON array: customer period, account gap, account quota, account period (ms), breaker on (0 or
--          1), floor, factor, hours, seconds until asks lapse, seconds until openings lapse
-- ARGV[3]  the operations, a JSON array of arrays; absent strings are ''
-- Returns  {'applied', result, ...} with one result for each operation, or, with nothing done:
--          {'unready'}     live: no ledger here, or this server is not the one it was built on
--          {'superseded'}  building: a ledger is live already
--          {'lost'}        building: the server forgot what has been built so far

local HOUR = 3600000
local root = string.sub(KEYS[1], 1, -6)
local building = ARGV[1] ~= ''
local limits = cjson.decode(ARGV[2])
local operations = cjson.decode(ARGV[3])

-- A restarted or promoted server may have lost its last writes without losing the ready key. Servers that do not tell
-- their run id are taken at their word.
local told, server = pcall(redis.call, 'INFO', 'server')
local run = told and string.match(server, 'run_id:(%w+)') or 'untold'

local generation, born_on = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+)$')
local live = generation ~= nil and born_on == run
if building then
  if live then return {'superseded'} end
  generation = ARGV[1]
  if operations[1][1] ~= 'begin' and redis.call('GET', root .. generation .. ':building') ~= run then
    return {'lost'}
  end
elseif not live then
  return {'unready'}
end

local customer_period, account_gap, account_quota, account_period = limits[1], limits[2], limits[3], limits[4]
local breaker_on, floor, factor, hours = limits[5] == 1, limits[6], limits[7], limits[8]
local asks_lapse, openings_lapse = limits[9], limits[10]
local periods = {customer = customer_period, email = customer_period, account = math.max(account_gap, account_period)}

local function key(kind, name)
  return root .. generation .. ':' .. kind .. ':' .. name
end

-- Lua prints large numbers as floats unless told otherwise.
local function digits(number)
  return string.format('%.0f', number)
end

local function count(command, asked_at, whom)
  for kind, name in pairs(whom) do
    if name and name ~= '' then
      local asks = key(kind, name)
      redis.call('ZREMRANGEBYSCORE', asks, '-inf', digits(asked_at - periods[kind]))
      redis.call('ZADD', asks, digits(asked_at), command)
      redis.call('EXPIRE', asks, asks_lapse)
    end
  end
end

local function whom(reservation)
  local found = redis.call('HMGET', reservation, 'customer', 'email', 'account')
  return {customer = found[1], email = found[2], account = found[3]}
end

-- The instant of the nth newest ask, or nil.
local function asked(kind, name, nth)
  if name == '' then return nil end
  local found = redis.call('ZREVRANGE', key(kind, name), nth - 1, nth - 1, 'WITHSCORES')
  return found[2] and tonumber(found[2])
end

local function switch(scope, name)
  return scope .. ' ' .. name
end

local function stopping(trigger, segment)
  local switches = {switch('all', ''), switch('trigger', trigger)}
  if segment ~= '' then switches[3] = switch('segment', segment) end
  local states = redis.call('HMGET', key('switches', 'paused'), unpack(switches))
  local found = {}
  for index, name in ipairs(switches) do
    if states[index] == '1' then found[#found + 1] = name end
  end
  return found
end

local function throw(name, now)
  local at = tonumber(redis.call('HGET', key('switches', 'changed'), name) or '-1')
  if now < at then return false end
  redis.call('HSET', key('switches', 'changed'), name, digits(now))
  if redis.call('HGET', key('switches', 'paused'), name) == '1' then return false end
  redis.call('HSET', key('switches', 'paused'), name, '1')
  redis.call('DEL', key('refused', name))
  return true
end

local operation = {}

function operation.request(command, customer, account, email, segment, trigger, due, valid_until, now)
  if now > valid_until then return {'unavailable'} end
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'asked', 'requested', 'released')
  if held[1] == 'reserved' then
    if now > tonumber(held[3]) then redis.call('HSET', reservation, 'requested', digits(now)) end
    if due > tonumber(held[2]) then
      redis.call('HSET', reservation, 'asked', digits(due))
      redis.call('EXPIRE', reservation, asks_lapse)
      count(command, due, whom(reservation))
    end
    return {'granted'}
  elseif held[1] == 'confirmed' then
    return {'granted'}
  elseif held[1] == 'released' and now <= tonumber(held[4]) then
    return {'unavailable'}
  end

  local paused = stopping(trigger, segment)
  if #paused > 0 then
    redis.call('SADD', key('refused', paused[1]), customer)
    redis.call('EXPIRE', key('refused', paused[1]), asks_lapse)
    return {'paused', unpack(paused)}
  end

  local newest = math.max(asked('customer', customer, 1) or -1, asked('email', email, 1) or -1)
  if newest >= 0 and due < newest + customer_period then return {'overasking', newest} end

  local near, quota = asked('account', account, 1), asked('account', account, account_quota)
  if near and due >= near + account_gap then near = nil end
  if quota and due >= quota + account_period then quota = nil end
  if near or quota then return {'account', near or -1, quota or -1} end

  redis.call('HSET', reservation, 'state', 'reserved', 'asked', digits(due), 'requested', digits(now),
    'customer', customer, 'email', email, 'account', account)
  redis.call('EXPIRE', reservation, asks_lapse)
  count(command, due, {customer = customer, email = email, account = account})
  return {'granted'}
end

function operation.confirm(command, customer, account, now)
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'asked')
  if held[1] == 'confirmed' then return {'done'} end
  if not held[1] then
    held[2] = now
    redis.call('HSET', reservation, 'asked', digits(now), 'customer', customer, 'email', '', 'account', account)
  end
  redis.call('HSET', reservation, 'state', 'confirmed')
  redis.call('EXPIRE', reservation, asks_lapse)
  count(command, tonumber(held[2]), whom(reservation))
  return {'done'}
end

function operation.release(command, now)
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'requested')
  if held[1] ~= 'reserved' or tonumber(held[2]) > now then return {'done'} end
  redis.call('HSET', reservation, 'state', 'released', 'released', digits(now))
  for kind, name in pairs(whom(reservation)) do
    if name and name ~= '' then redis.call('ZREM', key(kind, name), command) end
  end
  return {'done'}
end

function operation.opened(opportunity, trigger, now)
  if not breaker_on then return {'done'} end
  local hour, breaker = math.floor(now / HOUR), key('breaker', trigger)
  local state = redis.call('HMGET', breaker, 'newest', 'forgiven_hour', 'forgiven')
  local newest = tonumber(state[1] or '-1')
  if hour > newest then
    newest = hour
    redis.call('HSET', breaker, 'newest', digits(hour))
  end
  local oldest = newest - hours
  if hour < oldest then return {'done'} end
  local function openings(of_hour)
    return key('openings', digits(of_hour) .. ':' .. trigger)
  end
  if redis.call('SADD', openings(hour), opportunity) == 0 then return {'done'} end
  redis.call('EXPIRE', openings(hour), openings_lapse)
  local counted = redis.call('SCARD', openings(hour))
  if tonumber(state[2] or '-1') == hour then counted = counted - tonumber(state[3]) end
  if counted <= floor then return {'done'} end

  local before = {}
  for back = 1, hours do
    before[back] = hour - back < oldest and 0 or redis.call('SCARD', openings(hour - back))
  end
  table.sort(before)
  local doubled_median = before[math.floor((hours + 1) / 2)] + before[math.floor(hours / 2) + 1]
  local doubled_limit = math.max(2 * floor, factor * doubled_median)
  if 2 * counted > doubled_limit and throw(switch('trigger', trigger), now) then
    return {'tripped', hour, counted, doubled_limit}
  end
  return {'done'}
end

function operation.pause(scope, name, now)
  return {throw(switch(scope, name), now) and 'changed' or 'done'}
end

function operation.resume(scope, name, now)
  local which = switch(scope, name)
  local at = tonumber(redis.call('HGET', key('switches', 'changed'), which) or '-1')
  local paused = redis.call('HGET', key('switches', 'paused'), which) == '1'
  if now < at then return {'resumed'} end
  if not paused and now > at then
    redis.call('HSET', key('switches', 'changed'), which, digits(now))
    return {'resumed'}
  end
  if paused then
    redis.call('HSET', key('switches', 'paused'), which, '0')
    redis.call('HSET', key('switches', 'changed'), which, digits(now))
    if scope == 'trigger' then
      local hour = digits(math.floor(now / HOUR))
      local opened = redis.call('SCARD', key('openings', hour .. ':' .. name))
      redis.call('HSET', key('breaker', name), 'forgiven_hour', hour, 'forgiven', digits(opened))
    end
  end
  return {'resumed', redis.call('SMEMBERS', key('refused', which))}
end

function operation.stopped(trigger, segment)
  return {#stopping(trigger, segment) > 0 and 'stopped' or 'free'}
end

function operation.begin()
  redis.call('SET', root .. generation .. ':building', run, 'EX', asks_lapse)
  redis.call('SADD', root .. 'generations', generation)
  return {'done'}
end

-- From here on this generation is the ledger. All others end at this instant: whoever builds one finds its mark gone.
function operation.publish()
  local others = {}
  for _, other in ipairs(redis.call('SMEMBERS', root .. 'generations')) do
    redis.call('DEL', root .. other .. ':building')
    if other ~= generation then others[#others + 1] = other end
  end
  redis.call('DEL', root .. 'generations')
  redis.call('SADD', root .. 'generations', generation)
  redis.call('SET', KEYS[1], generation .. ' ' .. run)
  return {'published', others}
end

local results = {'applied'}
for index, each in ipairs(operations) do
  results[index + 1] = operation[each[1]](unpack(each, 2))
end
return results
