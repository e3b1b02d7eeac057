// words.rs - what Rust's standard library makes of input, arguments, environment and files.
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

fn main() -> io::Result<()> {
    let mut counts = BTreeMap::new();
    for line in io::stdin().lock().lines() {
        for word in line?.split_whitespace() {
            *counts.entry(word.to_string()).or_insert(0u32) += 1;
        }
    }
    for argument in std::env::args().skip(1) {
        println!("argument {:?}", argument);
    }
    fs::create_dir_all("made/by/rust")?;
    let mut file = fs::OpenOptions::new().read(true).write(true).create(true).open("made/by/rust/counts")?;
    for (word, count) in &counts {
        writeln!(file, "{} {}", word, count)?;
    }
    file.seek(SeekFrom::Start(1))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    print!("{}", text);
    drop(file);

    fs::copy("made/by/rust/counts", "made/copy")?;
    fs::rename("made/by/rust/counts", "made/counts")?;
    println!("{} bytes, {:?}", fs::metadata("made/copy")?.len(), fs::File::open("missing").map_err(|e| e.kind()).err());
    fs::remove_dir("made/by/rust")?;
    let mut names: Vec<_> = fs::read_dir("made")?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    println!("{:?}", names);
    fs::remove_file("made/copy")?;
    println!("{:?}", fs::remove_dir("made").is_err());
    std::process::exit(if counts.is_empty() { 3 } else { 0 })
}
