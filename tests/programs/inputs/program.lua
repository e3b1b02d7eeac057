local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print(_VERSION, fib(22), 7 // 2, 7 / 2, 2^53, 1e100, math.maxinteger)
print(pcall(error, { code = 7 }) == false, select(2, pcall(error, "oops", 0)))
print(select(2, pcall(function() local t = nil; return t.x end)))
local co = coroutine.wrap(function(a) for i = 1, 3 do a = coroutine.yield(a * i) end; error("end of it") end)
print(co(1), co(2), co(3), pcall(co, 4))
print(("%5.2f|%-5s|%05d|%q"):format(math.pi, "ab", 42, "a\nb"), ("hello world"):gsub("o", "0"))
local names = {}
for k in pairs({ x = 1, y = 2, z = 3 }) do names[#names + 1] = k end
table.sort(names)
print(table.concat(names, ","), #arg, arg[1], utf8.len("Küste"))
local file = assert(io.open("made.txt", "w+"))
file:write("line 1\nline 2\n", 3, "\n"):seek("set", 2)
print(file:read("l", "n", "a"))
file:close()
for line in io.lines("made.txt") do io.write("[", line, "]") end
print(os.rename("made.txt", "renamed.txt"), (select(2, io.open("made.txt")))) -- not errno, which differs
print(io.read("a"):upper())
print(xpcall(function() error("deep") end, function(m) return (debug.traceback(m, 1):match("^[^\n]*")) end))
io.stderr:write("to the log\n")
os.exit(5)
