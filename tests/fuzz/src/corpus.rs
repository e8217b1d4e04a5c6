//! The file of a kept corpus: one input a line, the shortest first. What is
//! not visible ASCII stands as `\xNN`, a line end as `\n`, a backslash as `\\`.

/// The inputs of a file.
///
/// # Errors
///
/// The number of the line that no file of ours has.
pub fn read(text: &str) -> Result<Vec<Vec<u8>>, String> {
    text.lines()
        .enumerate()
        .map(|(number, line)| input(line).ok_or(format!("line {} is no input", number + 1)))
        .collect()
}

fn input(line: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'\\' => b'\\',
            b'n' => b'\n',
            b'x' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

/// The file of these inputs, each once.
#[must_use]
pub fn write(inputs: &mut Vec<Vec<u8>>) -> String {
    inputs.sort_unstable_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    inputs.dedup();
    let mut text = String::new();
    for input in &*inputs {
        for byte in input {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'\n' => text.push_str("\\n"),
                b' '..=b'~' => text.push(char::from(*byte)),
                _ => text.push_str(&format!("\\x{byte:02x}")),
            }
        }
        text.push('\n');
    }
    text
}
