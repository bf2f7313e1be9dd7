-- The end of script.lua: applies the operations in their order.

local results = {'applied', number_of(generation)}
for index, each in ipairs(operations) do
  results[index + 2] = operation[each[1]](unpack(each, 2))
end
return results
