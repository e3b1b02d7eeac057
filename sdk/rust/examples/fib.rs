//! Parallel Fibonacci, as func/function_fib.c: a call for n starts two calls of itself, for n-1 and
//! n-2, and adds what they found; only the six uppermost levels of the tree are calls. The input is
//! n, up to 93 (none: 20), and for a child the n from which on to compute behind it. Where no call
//! can be started, the work is done here.
use faasm::{Call, Info};

const N_MAX: u32 = 93;
const LEVELS: u32 = 6;

/// The slow way, on purpose: this is the work that is shared out.
fn compute(n: u32) -> u64 {
    if n < 2 {
        u64::from(n)
    } else {
        compute(n - 1) + compute(n - 2)
    }
}

/// "n", or "n leaf".
fn parse(text: &str) -> Option<(u32, u32)> {
    let mut words = text.split_ascii_whitespace();
    let n: u32 = words.next().map_or(Some(20), |word| word.parse().ok())?;
    let leaf = match words.next() {
        Some(word) => word.parse().ok()?,
        None => n.saturating_sub(LEVELS),
    };
    if n > N_MAX || words.next().is_some() {
        return None;
    }
    Some((n, leaf))
}

fn result_of(call: faasm::Result<Call>, n: u32) -> Result<u64, String> {
    let call = match call {
        Ok(call) => call,
        Err(_) => return Ok(compute(n)),
    };
    let output = call
        .output()
        .map_err(|error| format!("fib: a call has failed: {}", error))?;
    String::from_utf8_lossy(&output)
        .parse()
        .map_err(|_| "fib: not a number".to_string())
}

fn exec() -> Result<(), String> {
    let input = String::from_utf8_lossy(&faasm::input()).into_owned();
    let (n, leaf) = parse(&input).ok_or("fib: the input must be a number up to 93")?;
    let result = if n < 2 || n <= leaf {
        compute(n)
    } else {
        let mut buffer = [0; 64];
        let own = faasm::call_info(Info::Function, &mut buffer).map_err(|e| e.to_string())?;
        let start = |n: u32| faasm::call_start(own, format!("{} {}", n, leaf).as_bytes());
        let (first, second) = (start(n - 1), start(n - 2));
        result_of(first, n - 1)? + result_of(second, n - 2)?
    };
    faasm::output_write(result.to_string().as_bytes()).map_err(|error| error.to_string())
}

faasm::entry!(exec);
