;; Starts as many calls of `leaf` as its input says (4 bytes, at most 1000), and awaits them.
(module
  (import "faasm" "input_read" (func $read (param i32 i32 i32) (result i32)))
  (import "faasm" "call_start" (func $start (param i32 i32 i32 i32) (result i64)))
  (import "faasm" "call_wait" (func $wait (param i64 i64) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "leaf")
  (func (export "_start") (local $i i32) (local $end i32)
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 4)))
    (local.set $end (i32.add (i32.const 1000) (i32.mul (i32.const 8) (i32.load (i32.const 0)))))
    (local.set $i (i32.const 1000))
    (block $started (loop $more
      (br_if $started (i32.eq (local.get $i) (local.get $end)))
      (i64.store (local.get $i)
        (call $start (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 0)))
      (local.set $i (i32.add (local.get $i) (i32.const 8)))
      (br $more)))
    (local.set $i (i32.const 1000))
    (block $ended (loop $more
      (br_if $ended (i32.eq (local.get $i) (local.get $end)))
      (if (call $wait (i64.load (local.get $i)) (i64.const -1)) (then unreachable))
      (local.set $i (i32.add (local.get $i) (i32.const 8)))
      (br $more)))))
