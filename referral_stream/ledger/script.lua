-- The ledger's rules as one atomic script: the same as referral_stream/core/ledger/, where they are explained. grants.lua
-- and applying.lua are appended to this file.
--
-- KEYS[1]  the ready key, PREFIX:{ledger}:CLUSTER:ready; every other key starts with the same and is derived here, so all
--          of them share one hash slot.
-- ARGV[1]  the generation to build, NUMBER-ANY, or '' for the one that is live
-- ARGV[2]  the limits, a JSON array: customer period, account gap, account quota, account period (ms), breaker on (0 or
--          1), floor, factor, hours, seconds until asks lapse, seconds until openings lapse, the breaker's pause, how
--          long a pause is told of after a reservation's due (ms), how many switches that were thrown back are kept, how
--          long a claim counts, how long a grant counts for the caps (ms), grants per customer, per account, seconds until
--          claims and grants lapse
-- ARGV[3]  the operations, a JSON array of arrays; absent strings are ''
-- ARGV[4]  the number of the oldest generation that may answer
-- Returns  {'applied', number, result, ...} with the number of the generation and one result for each operation, or, with
--          nothing done:
--          {'unready'}          live: no ledger here, or this server is not the one it was built on, or has evicted a key
--          {'outdated', number} live: a newer generation than this one is known
--          {'superseded'}       building: a newer ledger is live already
--          {'lost'}             building: the server forgot what has been built so far, or some of it
--          {'cluster'}          building: the server is one of a cluster, where keys may move away

local HOUR = 3600000
-- What is kept is of this form; what is of another one is built anew.
local FORM = '5'
local root = string.sub(KEYS[1], 1, -6)
local building = ARGV[1] ~= ''
local limits = cjson.decode(ARGV[2])
local operations = cjson.decode(ARGV[3])

-- A restarted or promoted server may have lost its last writes without losing the ready key, and one that evicts may have
-- thrown away asks. The run id is new after a restart, the replication id after a promotion, also that of a server that was
-- master before, and every eviction is counted. Servers that do not tell them are taken at their word.
local function own(section, field)
  local told, about = pcall(redis.call, 'INFO', section)
  return told and string.match(about, field .. ':(%w+)') or 'untold'
end
local run = own('server', 'run_id') .. '/' .. own('replication', 'master_replid') .. '/' .. own('stats', 'evicted_keys')

local function number_of(name)
  return tonumber(string.match(name, '^%d+'))
end

local generation, born_on, form = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+%-%S+) (%S+) (%S+)$')
local live = generation ~= nil and born_on == run and form == FORM
if building then
  if live and number_of(generation) >= number_of(ARGV[1]) then return {'superseded'} end
  generation = ARGV[1]
  if operations[1][1] == 'begin' and own('cluster', 'cluster_enabled') == '1' then return {'cluster'} end
  if operations[1][1] ~= 'begin' and redis.call('GET', root .. generation .. ':building') ~= run then
    return {'lost'}
  end
  redis.call('SET', root .. 'builder', generation, 'EX', 15)
elseif not live then
  return {'unready'}
elseif number_of(generation) < tonumber(ARGV[4]) then
  return {'outdated', number_of(generation)}
end

local customer_period, account_gap, account_quota, account_period = limits[1], limits[2], limits[3], limits[4]
local breaker_on, floor, factor, hours = limits[5] == 1, limits[6], limits[7], limits[8]
local asks_lapse, openings_lapse = limits[9], limits[10]
local breaker_pause, told_of, switches_kept = limits[11], limits[12], limits[13]
local claim_period, grant_period, customer_grants, account_grants = limits[14], limits[15], limits[16], limits[17]
local grants_lapse = limits[18]
local periods = {customer = customer_period, email = customer_period, account = math.max(account_gap, account_period)}

local function key(kind, name)
  return root .. generation .. ':' .. kind .. ':' .. name
end

-- A server without memory refuses a script at its first write only, and only one that adds: so each operation begins with
-- one. Lua prints large numbers as floats unless told otherwise.
local function digits(number)
  return string.format('%.0f', number)
end

local SHADOW = 'shadow '

local function period(kind)
  return periods[string.gsub(kind, '^' .. SHADOW, '')]
end

local function count(command, asked_at, whom)
  for _, each in ipairs(whom) do
    local asks = key(each[1], each[2])
    redis.call('ZREMRANGEBYSCORE', asks, '-inf', digits(asked_at - period(each[1])))
    redis.call('ZADD', asks, digits(asked_at), command)
    redis.call('EXPIRE', asks, asks_lapse)
  end
end

-- Whom an ask is counted for, as {kind, name} pairs; those learned later stand in 'also', as they were told.
local function whom(reservation)
  local found = redis.call('HMGET', reservation, 'customer', 'email', 'account', 'also', 'shadow')
  local pairs = {{'customer', found[1]}, {'email', found[2]}, {'account', found[3]}}
  for _, each in ipairs(cjson.decode(found[4] or '[]')) do pairs[#pairs + 1] = each end
  local counted = {}
  for _, each in ipairs(pairs) do
    if each[2] and each[2] ~= '' then
      counted[#counted + 1] = {found[5] == '1' and SHADOW .. each[1] or each[1], each[2]}
    end
  end
  return counted
end

-- The instants of the newest asks, the newest first, nth of them or fewer.
local function newest(kind, name, nth)
  local found, instants = redis.call('ZREVRANGE', key(kind, name), 0, nth - 1, 'WITHSCORES'), {}
  for at = 2, #found, 2 do instants[at / 2] = tonumber(found[at]) end
  return instants
end

-- The instant of the nth newest ask, or nil. Requests of shadow mode also see what shadow mode has withheld.
local function asked(kind, name, nth, shadow)
  if name == '' then return nil end
  if not shadow then
    local found = redis.call('ZREVRANGE', key(kind, name), nth - 1, nth - 1, 'WITHSCORES')
    return found[2] and tonumber(found[2])
  end
  local instants = newest(kind, name, nth)
  for _, each in ipairs(newest(SHADOW .. kind, name, nth)) do instants[#instants + 1] = each end
  table.sort(instants, function(one, other) return one > other end)
  return instants[nth]
end

local function switch(scope, name)
  return scope .. ' ' .. name
end

-- What persons did with a switch last: whether it is on, and since when.
local function thrown(which)
  local on = redis.call('HGET', key('switches', 'paused'), which) == '1'
  return on, tonumber(redis.call('HGET', key('switches', 'changed'), which) or '-1')
end

-- When the breaker's pause of a trigger ends, nil where there is none at that instant.
local function breaker_until(trigger, now)
  local set_at = tonumber(redis.call('HGET', key('breaker', trigger), 'set_at') or '-1')
  local _, changed_at = thrown(switch('trigger', trigger))
  if set_at < 0 or set_at < changed_at or now >= set_at + breaker_pause then return nil end
  return set_at + breaker_pause
end

local function stands(scope, name, now)
  return (thrown(switch(scope, name))) or (scope == 'trigger' and breaker_until(name, now) ~= nil)
end

-- Those that stop a request, as {switch, until or -1}, the widest first, and the one whose end is to be told.
local function stopping(trigger, segment, due)
  local found, noted = {}, nil
  local function add(which, ends)
    found[#found + 1] = {which, ends or -1}
    if not ends and not noted then noted = which end
  end
  if thrown(switch('all', '')) then add(switch('all', '')) end
  if thrown(switch('trigger', trigger)) then
    add(switch('trigger', trigger))
  else
    local ends = breaker_until(trigger, due)
    if ends then add(switch('trigger', trigger), ends) end
  end
  if segment ~= '' then
    if thrown(switch('segment', segment)) then add(switch('segment', segment)) end
  else
    for _, name in ipairs(redis.call('ZRANGEBYLEX', key('switches', 'segments'), '-', '+')) do
      add(switch('segment', name))
    end
  end
  return found, noted or (found[1] and found[1][1])
end

local function wait(which, customer)
  redis.call('ZADD', key('waiting', which), 0, customer)
  redis.call('EXPIRE', key('waiting', which), asks_lapse)
end

-- The unconfirmed reservations by customer, to be told of a pause, and by due, to be forgotten.
local function unconfirmed(customer, command)
  return customer .. '\0' .. command
end

local function expect_report(customer, command, due)
  local by_customer, by_due = key('unconfirmed', 'by customer'), key('unconfirmed', 'by due')
  redis.call('ZADD', by_customer, 0, unconfirmed(customer, command))
  redis.call('ZADD', by_due, digits(due), unconfirmed(customer, command))
  redis.call('EXPIRE', by_customer, asks_lapse)
  redis.call('EXPIRE', by_due, asks_lapse)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', by_due, '-inf', digits(due - 2 * told_of), 'LIMIT', 0, 10)) do
    redis.call('ZREM', by_due, old)
    redis.call('ZREM', by_customer, old)
  end
end

local function expect_none(customer, command)
  redis.call('ZREM', key('unconfirmed', 'by customer'), unconfirmed(customer, command))
  redis.call('ZREM', key('unconfirmed', 'by due'), unconfirmed(customer, command))
end

local operation = {}

-- What holds is renewed, and what was released stays so unless this was requested later; else it is reserved now.
local function reserve(command, customer, account, email, segment, trigger, due, requested, shadow, allowed)
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'asked', 'requested', 'released')
  if held[1] == 'reserved' then
    if requested > tonumber(held[3]) then redis.call('HSET', reservation, 'requested', digits(requested)) end
    if due > tonumber(held[2]) then
      redis.call('HSET', reservation, 'asked', digits(due))
      redis.call('EXPIRE', reservation, asks_lapse)
      count(command, due, whom(reservation))
      expect_report(redis.call('HGET', reservation, 'customer'), command, due)
    end
    return {'granted'}
  elseif held[1] == 'confirmed' then
    return {'granted'}
  elseif held[1] == 'released' and requested <= tonumber(held[4]) then
    return {'unavailable'}
  end
  local denied = allowed and allowed()
  if denied then return denied end

  redis.call('HSET', reservation, 'state', 'reserved', 'asked', digits(due), 'requested', digits(requested),
    'customer', customer, 'email', email, 'account', account, 'trigger', trigger, 'segment', segment,
    'shadow', shadow and '1' or '0')
  redis.call('HDEL', reservation, 'released', 'also')
  redis.call('EXPIRE', reservation, asks_lapse)
  count(command, due, whom(reservation))
  expect_report(customer, command, due)
  return {'granted'}
end

function operation.request(command, customer, account, email, segment, trigger, due, valid_until, now, shadow)
  if now > valid_until then return {'unavailable'} end
  local paused, noted = stopping(trigger, segment, due)
  if #paused > 0 then
    wait(noted, customer)
    return {'paused', unpack(paused)}
  end
  return reserve(command, customer, account, email, segment, trigger, due, now, shadow, function()
    local newest = math.max(asked('customer', customer, 1, shadow) or -1, asked('email', email, 1, shadow) or -1)
    if newest >= 0 and due < newest + customer_period then return {'overasking', newest} end

    local near, quota = asked('account', account, 1, shadow), asked('account', account, account_quota, shadow)
    if near and due >= near + account_gap then near = nil end
    if quota and due >= quota + account_period then quota = nil end
    if near or quota then return {'account', near or -1, quota or -1} end
  end)
end

function operation.hold(command, customer, account, email, segment, trigger, due, requested, shadow)
  return reserve(command, customer, account, email, segment, trigger, due, requested, shadow)
end

-- A request of the past: what it was granted stands in the log. Whom a switch stopped is still to be told of its end.
function operation.recall(customer, segment, trigger, due)
  local paused, noted = stopping(trigger, segment, due)
  if #paused > 0 then wait(noted, customer) end
  return {'done'}
end

-- A customer to be told when a switch is thrown back, besides those whom it stopped.
function operation.wait(scope, name, customer)
  wait(switch(scope, name), customer)
  return {'done'}
end

function operation.confirm(command, customer, account, now)
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'asked', 'customer')
  if held[1] == 'confirmed' then return {'done'} end
  if not held[1] then
    held[2] = now
    redis.call('HSET', reservation, 'asked', digits(now), 'customer', customer, 'email', '', 'account', account)
  end
  redis.call('HSET', reservation, 'state', 'confirmed')
  if held[3] then expect_none(held[3], command) end
  redis.call('EXPIRE', reservation, asks_lapse)
  count(command, tonumber(held[2]), whom(reservation))
  return {'done'}
end

function operation.release(command, now)
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'requested', 'customer')
  if held[1] ~= 'reserved' or tonumber(held[2]) > now then return {'done'} end
  redis.call('HSET', reservation, 'state', 'released', 'released', digits(now))
  expect_none(held[3], command)
  for _, each in ipairs(whom(reservation)) do
    redis.call('ZREM', key(each[1], each[2]), command)
  end
  return {'done'}
end

function operation.amend(command, account, email)
  local reservation = key('reservation', command)
  local held = redis.call('HMGET', reservation, 'state', 'asked', 'also')
  if not held[1] then return {'done'} end
  local also = cjson.decode(held[3] or '[]')
  local function learn(kind, name)
    if name == '' then return end
    for _, each in ipairs(also) do
      if each[1] == kind and each[2] == name then return end
    end
    also[#also + 1] = {kind, name}
  end
  learn('account', account)
  learn('email', email)
  if #also > 0 then redis.call('HSET', reservation, 'also', cjson.encode(also)) end
  redis.call('EXPIRE', reservation, asks_lapse)
  if held[1] ~= 'released' then count(command, tonumber(held[2]), whom(reservation)) end
  return {'done'}
end

function operation.opened(opportunity, trigger, now)
  if not breaker_on then return {'done'} end
  local hour, breaker = math.floor(now / HOUR), key('breaker', trigger)
  local on, changed_at = thrown(switch('trigger', trigger))
  -- The opening that has set a pause gives it again when it is told again.
  local set = redis.call('HMGET', breaker, 'set_by', 'set_at', 'set_hour', 'set_count', 'set_limit')
  if set[1] == opportunity then
    if on or tonumber(set[2]) < changed_at then return {'done'} end
    return {'tripped', tonumber(set[3]), tonumber(set[4]), tonumber(set[5])}
  end
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
  if 2 * counted > doubled_limit and now >= changed_at and not stands('trigger', trigger, now) then
    redis.call('HSET', breaker, 'set_by', opportunity, 'set_at', digits(now), 'set_hour', digits(hour),
      'set_count', digits(counted), 'set_limit', digits(doubled_limit))
    return {'tripped', hour, counted, doubled_limit}
  end
  return {'done'}
end

function operation.pause(scope, name, stamp)
  local which = switch(scope, name)
  local _, changed_at = thrown(which)
  if stamp < changed_at then return {'old'} end
  redis.call('HSET', key('switches', 'changed'), which, digits(stamp))
  redis.call('HSET', key('switches', 'paused'), which, '1')
  redis.call('ZREM', key('switches', 'thrown back'), which)
  if scope == 'segment' then redis.call('ZADD', key('switches', 'segments'), 0, name) end
  return {'thrown'}
end

function operation.resume(scope, name, stamp)
  local which = switch(scope, name)
  local on, changed_at = thrown(which)
  if stamp < changed_at or (on and stamp == changed_at) then return {'old'} end
  local ended = on
  if scope == 'trigger' and not ended then
    local set_at = tonumber(redis.call('HGET', key('breaker', name), 'set_at') or '-1')
    ended = set_at < stamp and breaker_until(name, stamp) ~= nil
  end
  redis.call('HSET', key('switches', 'paused'), which, '0')
  redis.call('HSET', key('switches', 'changed'), which, digits(stamp))
  if scope == 'segment' then redis.call('ZREM', key('switches', 'segments'), name) end
  local thrown_back = key('switches', 'thrown back')
  redis.call('ZADD', thrown_back, digits(stamp), which)
  if redis.call('ZCARD', thrown_back) > switches_kept then
    local oldest = redis.call('ZRANGE', thrown_back, 0, 0)[1]
    redis.call('ZREM', thrown_back, oldest)
    redis.call('HDEL', key('switches', 'paused'), oldest)
    redis.call('HDEL', key('switches', 'changed'), oldest)
  end
  if ended and scope == 'trigger' then
    local hour = digits(math.floor(stamp / HOUR))
    local opened = redis.call('SCARD', key('openings', hour .. ':' .. name))
    redis.call('HSET', key('breaker', name), 'forgiven_hour', hour, 'forgiven', digits(opened))
  end
  return {'thrown'}
end

-- Some of the customers to tell of a pause, and where the next ones begin ('': nowhere).
function operation.concerned(scope, name, now, after, size)
  if not stands(scope, name, now) then return {'page', '', {}} end
  local start = after == '' and '-' or '(' .. after
  local found = redis.call('ZRANGEBYLEX', key('unconfirmed', 'by customer'), start, '+', 'LIMIT', 0, size)
  local customers = {}
  for _, each in ipairs(found) do
    local customer, command = string.match(each, '^(.*)%z(.*)$')
    local held = redis.call('HMGET', key('reservation', command), 'state', 'asked', 'trigger', 'segment')
    local concerns = scope == 'all' or (scope == 'trigger' and held[3] == name)
      or (scope == 'segment' and (held[4] == '' or held[4] == name))
    if held[1] == 'reserved' and concerns and tonumber(held[2]) > now - told_of then
      wait(switch(scope, name), customer)
      if customers[#customers] ~= customer then customers[#customers + 1] = customer end
    end
  end
  return {'page', #found == size and found[#found] or '', customers}
end

-- Some of those to tell that a switch was thrown back; up to 'after' they have been told, and are forgotten.
function operation.waiting(scope, name, now, after, size)
  local set, start = key('waiting', switch(scope, name)), '-'
  if after ~= '' then
    start = '(' .. after
    if not stands(scope, name, now) then redis.call('ZREMRANGEBYLEX', set, '-', '[' .. after) end
  end
  local customers = redis.call('ZRANGEBYLEX', set, start, '+', 'LIMIT', 0, size)
  return {'page', customers[#customers] or '', customers}
end

function operation.stopped(trigger, segment, due)
  return {#(stopping(trigger, segment, due)) > 0 and 'stopped' or 'free'}
end

function operation.begin()
  redis.call('SET', root .. generation .. ':building', run, 'EX', asks_lapse)
  redis.call('SADD', root .. 'generations', generation)
  return {'done'}
end

-- From here on this generation is the ledger. All older ones end at this instant: whoever builds one finds its mark gone.
function operation.publish()
  local older = {}
  for _, other in ipairs(redis.call('SMEMBERS', root .. 'generations')) do
    if other == generation or number_of(other) <= number_of(generation) then
      redis.call('DEL', root .. other .. ':building')
      if other ~= generation then
        older[#older + 1] = other
        redis.call('SREM', root .. 'generations', other)
      end
    end
  end
  redis.call('DEL', root .. 'builder')
  redis.call('SET', KEYS[1], generation .. ' ' .. run .. ' ' .. FORM)
  return {'published', older}
end
