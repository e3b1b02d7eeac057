// Greets whom the input names.
function exec() {
    const name = faasm.input() || "faasm";
    return `Hello ${name}!`;
}
