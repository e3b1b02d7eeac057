;; Writes "leaving\n" and ends with the first byte of its input as exit code.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\01\00\00\00") ;; where to read: 1 byte at 32
  (data (i32.const 8) "\40\00\00\00\08\00\00\00") ;; what to write: 8 bytes at 64
  (data (i32.const 64) "leaving\n")
  (func (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 128)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 128)))
    (call $exit (i32.load8_u (i32.const 32)))))
