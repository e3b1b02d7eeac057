//! Without the standard library and without an allocator: ASCII letters in upper case, by pieces.
#![no_std]

fn exec() -> faasm::Result<()> {
    let mut buffer = [0; 1000];
    let mut offset = 0;
    loop {
        let got = faasm::input_read(offset, &mut buffer);
        if got == 0 {
            return Ok(());
        }
        offset += got;
        buffer[..got].make_ascii_uppercase();
        faasm::output_write(&buffer[..got])?;
    }
}

faasm::entry!(exec);
