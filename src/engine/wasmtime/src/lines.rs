//! Source lines: what a module's DWARF says, boiled down to a table that is safe and quick to read.
//!
//! Debug information is a stranger's program for a parser, and parsing it at a trap would make a
//! worker wait. So it is read once, where a module is compiled, and becomes a table of places:
//!
//! ```text
//!     header    rows, frames, string bytes, code offset                        4 x u32
//!     rows      {address, frame}...    by address; frame 0: nothing is known   2 x u32
//!     frames    {function, file, line, column, outer}...                       5 x u32
//!     strings   texts, each with a NUL; the first is empty
//! ```
//!
//! All numbers are little endian. A frame is named by its number, counted from 1; `outer` is the
//! one that it was inlined into, always a smaller number, or 0. An address counts from the start of
//! the code section's content, `code offset` is where that begins in the module. A row holds from
//! its address up to the next row's.
//!
//! `src/engine/lines.c` reads it. What is over a bound is left out from there on, as are lines for
//! which there is no time: a backtrace then has the names alone.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use addr2line::{Context, Frame};
use gimli::{Dwarf, EndianSlice, LittleEndian};
use wasmparser::{Parser, Payload};
use wasmtime_c_api::wasm_byte_vec_t;

const ROWS_MAX: usize = 2 << 20;
const FRAMES_MAX: usize = 1 << 20;
const STRINGS_MAX: usize = 16 << 20;
const INLINED_MAX: usize = 16; // one inside the other
const NAME_MAX: usize = 200; // bytes of a function's name or a file's path

type Slice<'a> = EndianSlice<'a, LittleEndian>;

struct Sections<'a> {
    code: Option<std::ops::Range<usize>>,
    debug: HashMap<&'a str, &'a [u8]>,
}

fn read_sections(wasm: &[u8]) -> Option<Sections<'_>> {
    let mut sections = Sections {
        code: None,
        debug: HashMap::new(),
    };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::CodeSectionStart { range, .. } => sections.code = Some(range),
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                sections.debug.insert(section.name(), section.data());
            }
            _ => {}
        }
    }
    Some(sections)
}

/// Where the content of the code section begins in the module; `usize::MAX`: it has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_code_offset(wasm: *const u8, length: usize) -> usize {
    let wasm = unsafe { std::slice::from_raw_parts(wasm, length) };
    match read_sections(wasm) {
        Some(Sections {
            code: Some(range), ..
        }) => range.start,
        _ => usize::MAX,
    }
}

/// Text that ends in an error when it gets too long: a mangled name of few bytes can stand for one
/// that fills all memory.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > 4 * NAME_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The name as people write it, or as it stands there.
fn demangle(name: &str) -> String {
    let mut text = Bounded(String::new());
    if name.len() <= 4 * NAME_MAX {
        if name.starts_with("_Z")
            && let Ok(symbol) = cpp_demangle::BorrowedSymbol::new(name.as_bytes())
        {
            let options = cpp_demangle::DemangleOptions::new().no_params();
            if symbol.structured_demangle(&mut text, &options).is_ok() {
                return text.0;
            }
            text.0.clear();
        }
        if let Ok(symbol) = rustc_demangle::try_demangle(name)
            && fmt::write(&mut text, format_args!("{symbol:#}")).is_ok()
        {
            return text.0;
        }
    }
    name.to_string()
}

/// One line of graphic ASCII and blanks, of at most `NAME_MAX` bytes: of what is longer, its two
/// ends, which say more than the middle.
fn printable(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if (' '..='~').contains(&c) { c } else { '?' })
        .collect();
    if clean.len() <= NAME_MAX {
        return clean;
    }
    let end = clean.len() - NAME_MAX / 2;
    format!("{}...{}", &clean[..NAME_MAX / 2 - 3], &clean[end..])
}

struct Table {
    rows: Vec<(u32, u32)>,
    frames: Vec<[u32; 5]>,
    frames_known: HashMap<[u32; 5], u32>,
    strings: Vec<u8>,
    strings_known: HashMap<String, u32>,
}

impl Table {
    fn new() -> Table {
        Table {
            rows: Vec::new(),
            frames: Vec::new(),
            frames_known: HashMap::new(),
            strings: vec![0],
            strings_known: HashMap::new(),
        }
    }

    fn string(&mut self, text: &str) -> Option<u32> {
        if text.is_empty() {
            return Some(0);
        }
        if let Some(&offset) = self.strings_known.get(text) {
            return Some(offset);
        }
        if self.strings.len() + text.len() + 1 > STRINGS_MAX {
            return None;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.strings_known.insert(text.to_string(), offset);
        Some(offset)
    }

    fn frame(&mut self, frame: [u32; 5]) -> Option<u32> {
        if let Some(&number) = self.frames_known.get(&frame) {
            return Some(number);
        }
        if self.frames.len() == FRAMES_MAX {
            return None;
        }
        self.frames.push(frame);
        let number = self.frames.len() as u32;
        self.frames_known.insert(frame, number);
        Some(number)
    }

    fn row(&mut self, address: u32, frame: u32) -> Option<()> {
        if self.rows.last().is_some_and(|last| last.1 == frame) {
            return Some(());
        }
        if self.rows.len() == ROWS_MAX {
            return None;
        }
        self.rows.push((address, frame));
        Some(())
    }

    fn write(&self, code_offset: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u32| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.rows.len() as u32);
        put(self.frames.len() as u32);
        put(self.strings.len() as u32);
        put(code_offset);
        for &(address, frame) in &self.rows {
            put(address);
            put(frame);
        }
        self.frames.iter().flatten().for_each(|&number| put(number));
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// The chain of frames at an address; 0: none is known. `None`: the table is full.
fn add_frames(table: &mut Table, context: &Context<Slice<'_>>, address: u64) -> Option<u32> {
    let mut found: Vec<Frame<'_, Slice<'_>>> = Vec::new();
    if let Ok(mut frames) = context.find_frames(address).skip_all_loads() {
        while let Ok(Some(frame)) = frames.next() {
            found.push(frame);
            if found.len() == INLINED_MAX {
                break;
            }
        }
    }
    let mut outer = 0;
    for frame in found.iter().rev() {
        let function = match &frame.function {
            Some(function) => function.raw_name().map(|name| demangle(&name)),
            None => Ok(String::new()),
        };
        let location = frame.location.as_ref();
        let file = location.and_then(|at| at.file).unwrap_or("");
        let function = table.string(&printable(&function.unwrap_or_default()))?;
        let file = table.string(&printable(file))?;
        let line = location.and_then(|at| at.line).unwrap_or(0);
        let column = location.and_then(|at| at.column).unwrap_or(0);
        outer = table.frame([function, file, line, column, outer])?;
    }
    Some(outer)
}

/// Fills the table as far as bounds and time allow.
fn fill(
    table: &mut Table,
    context: &Context<Slice<'_>>,
    code_bytes: u64,
    end: Instant,
) -> Option<()> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (address, bytes, _) in context.find_location_range(0, code_bytes).ok()? {
        if ranges.len() == ROWS_MAX || Instant::now() > end {
            break;
        }
        if address < code_bytes {
            ranges.push((
                address as u32,
                address.saturating_add(bytes).min(code_bytes) as u32,
            ));
        }
    }
    ranges.sort_unstable();
    let mut known_to = 0;
    for (from, to) in ranges {
        if Instant::now() > end {
            break;
        }
        let from = from.max(known_to); // where two overlap
        if from >= to {
            continue;
        }
        if from > known_to {
            table.row(known_to, 0)?;
        }
        let frame = add_frames(table, context, u64::from(from))?;
        table.row(from, frame)?;
        known_to = to;
    }
    table.row(known_to, 0)
}

fn make_table(wasm: &[u8], budget: Duration) -> Option<Vec<u8>> {
    let end = Instant::now() + budget;
    let sections = read_sections(wasm)?;
    let code = sections.code?;
    if !sections.debug.contains_key(".debug_line") {
        return None;
    }
    let dwarf = Dwarf::load(|id| -> Result<Slice<'_>, gimli::Error> {
        let data = sections.debug.get(id.name()).copied().unwrap_or(&[]);
        Ok(EndianSlice::new(data, LittleEndian))
    });
    let context = Context::from_dwarf(dwarf.ok()?).ok()?;
    let mut table = Table::new();
    let whole = fill(&mut table, &context, code.len() as u64, end);
    if whole.is_none() {
        // What was known last must not be taken for all that follows.
        if let Some(last) = table.rows.last_mut() {
            last.1 = 0;
        }
    }
    if table.frames.is_empty() {
        return None;
    }
    Some(table.write(u32::try_from(code.start).ok()?))
}

/// The table of a binary module. False: there is no debug information that could be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fm_wt_lines(
    wasm: *const u8,
    length: usize,
    budget_ms: u64,
    table: &mut wasm_byte_vec_t,
) -> bool {
    let wasm = unsafe { std::slice::from_raw_parts(wasm, length) };
    match make_table(wasm, Duration::from_millis(budget_ms)) {
        Some(bytes) => {
            table.set_buffer(bytes);
            true
        }
        None => false,
    }
}
