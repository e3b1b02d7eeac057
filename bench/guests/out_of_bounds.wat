(module
  (memory (export "memory") 1)
  (func (export "_start") (i32.store (i32.const 1000000) (i32.const 1))))
