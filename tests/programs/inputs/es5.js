function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
print([fib(18), 0.1 + 0.2, 1e21, 1 / 3, -0, NaN].join(' '));
try { null.x; } catch (e) { print(e instanceof TypeError); }
try { throw { a: 1 }; } catch (e) { print(JSON.stringify(e)); } finally { print('finally'); }
print('a-b-c'.replace(/-(\w)/g, function (m, c) { return c.toUpperCase(); }));
print(Object.keys({ x: 1, y: [2] }).sort().join(), new Date(0).toISOString(), parseInt('ff', 16));
print([3, 1, 2].sort().map(function (x) { return x * x; }).reduce(function (a, b) { return a + b; }));
(function deep(n) { if (n > 0) deep(n - 1); else print('bottom'); })(200);
'done';
