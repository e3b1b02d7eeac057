;; Hands the host a pointer that is not inside the memory, after an output that is fine.
(module
  (import "faasm" "output_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $write (i32.const 0) (i32.const 16)))
    (drop (call $write (i32.const 65530) (i32.const 16)))))
