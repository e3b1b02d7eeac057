class Shape { #side = 3; get area() { return this.#side ** 2; } static of() { return new this(); } }
print([Shape.of().area, 2n ** 100n, [..."Küste"].length].join(' '));
function* numbers() { for (let i = 0; ; i++) yield i; }
const [a, , b, ...rest] = [1, 2, 3, 4, 5];
print(JSON.stringify({ a, b, rest, c: ({ x: { y: 1 } }).x?.z ?? 'none' }));
for (const n of numbers()) { if (n > 3) break; print(`n ${n}`); }
print("2024-02-30".match(/(?<y>\d+)-(?<m>\d+)/).groups.m, new Map([[1, 2]]).size, [1, [2, [3]]].flat(9).join());
(async () => { await null; print('later'); try { await Promise.reject(new Error('no')); } catch (e) { print(e.message); } })();
try { undefined.x; } catch (e) { print(e.name); }
const big = new Float64Array(1000).fill(0.1).reduce((x, y) => x + y);
print('now', big, Math.hypot(3, 4));
[5, 1, 4].toSorted().join('');
