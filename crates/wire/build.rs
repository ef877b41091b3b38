//! Compiles `proto/marble.proto` with a compiler written in Rust: no `protoc` is needed on the machine.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_file("marble.proto")?;

    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?);
    std::fs::write(out.join("marble.fds"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        // Sorted maps: equal parameters have equal bytes.
        .btree_map(".")
        // These hold secrets; src/marble.rs gives them a Debug that shows names only.
        .skip_debug([".rpc.ActivationResp", ".rpc.Parameters"])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
