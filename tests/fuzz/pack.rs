//! Between the one file of a kept corpus and the folder that libFuzzer wants. A
//! program by itself, because what is built for the fuzzer links with it only.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

#[path = "src/corpus.rs"]
mod corpus;

fn unpack(file: &Path, folder: &Path) -> Result<usize, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let inputs = corpus::read(&fs::read_to_string(file)?)?;
    for (number, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("{number:05}")), input)?;
    }
    Ok(inputs.len())
}

fn pack(folder: &Path, file: &Path) -> Result<usize, Box<dyn Error>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    fs::write(file, corpus::write(&mut inputs))?;
    Ok(inputs.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let count = match arguments.as_slice() {
        ["unpack", file, folder] => unpack(Path::new(file), Path::new(folder))?,
        ["pack", folder, file] => pack(Path::new(folder), Path::new(file))?,
        _ => return Err("usage: corpus unpack FILE FOLDER | corpus pack FOLDER FILE".into()),
    };
    println!("{count} inputs");
    Ok(())
}
