/// Greets whom the input names.
fn exec() -> faasm::Result<()> {
    let input = faasm::input();
    let name: &[u8] = if input.is_empty() { b"faasm" } else { &input };
    faasm::output_write(b"Hello ")?;
    faasm::output_write(name)?;
    faasm::output_write(b"!")
}

faasm::entry!(exec);
